"""Pairs from clips whose motion is known: the flow fits ``warp``, the cache is whole or rebuilt, faults have names."""

from __future__ import annotations

import logging
import os
import threading
from collections.abc import Sequence
from pathlib import Path

import av
import numpy as np
import pytest
import torch

from engines.base import RGB
from engines.errors import TrainError
from rtstyle.sources.file import FileSource
from tests.train.messages import logged
from tests.train.pictures import texture
from train.data import clips
from train.data.clips import PairSet, build_pairs, clip_files
from train.data.synthetic_motion import warp

SIZE, CROP = 96, 64


def write_clip(path: Path, frames: Sequence[RGB], codec: str = "libx264", rotation: int = 0) -> Path:
    """A clip of these frames, nearly without loss, at 25 frames a second."""
    options = {"libx264": {"preset": "ultrafast", "crf": "4"}}.get(codec, {})
    with av.open(str(path), "w") as out:
        video = out.add_stream(codec, rate=25, options=options)
        video.height, video.width, video.pix_fmt = *frames[0].shape[:2], "yuv420p"
        if rotation:
            video.set_display_rotation(rotation)
        for rgb in frames:
            out.mux(video.encode(av.VideoFrame.from_ndarray(np.ascontiguousarray(rgb))))
        out.mux(video.encode(None))
    return path


def panning(count: int, dx: int, dy: int, seed: int = 5, height: int = SIZE, width: int = 128) -> list[RGB]:
    """A scene that moves by (dx, dy) pixels a frame."""
    margin = 60
    whole = texture(height + 2 * margin, width + 2 * margin, seed, detail=36)
    return [
        whole[margin - dy * i : margin - dy * i + height, margin - dx * i : margin - dx * i + width]
        for i in range(count)
    ]


@pytest.fixture
def cache(tmp_path: Path) -> Path:
    """Where the pairs go; made by the code under test."""
    return tmp_path / "deep" / "cache"


@pytest.fixture
def pan(tmp_path: Path) -> Path:
    """A clip that moves by (3, −2) pixels a frame."""
    return write_clip(tmp_path / "pan.mp4", panning(8, 3, -2))


@pytest.fixture
def decoded(monkeypatch: pytest.MonkeyPatch) -> list[str]:
    """Names of the clips that are opened."""
    names: list[str] = []

    def counting(name: str) -> FileSource:
        names.append(Path(name).name)
        return FileSource(name)

    monkeypatch.setattr(clips, "FileSource", counting)
    return names


def rng(seed: int = 0) -> np.random.Generator:
    """Random numbers of a test."""
    return np.random.default_rng(seed)


def misfit(first: torch.Tensor, batch: clips.PairBatch) -> float:
    """Mean absolute difference to the second frame where valid, 8-bit steps."""
    error = (first - batch.second).abs().mean(1, keepdim=True) * batch.valid
    return 255 * float(error.sum() / batch.valid.sum())


@pytest.mark.parametrize("gap", [1, 2])
def test_warp_takes_the_first_frame_to_the_second(pan: Path, cache: Path, gap: int) -> None:
    """Mirrored or not: each pixel of the second comes from where it was before the motion."""
    pairs = build_pairs([pan], cache, SIZE, gap)
    batch = pairs.batch(12, CROP, rng())
    assert batch.first.shape == batch.second.shape == (12, 3, CROP, CROP)
    assert batch.flow.shape == (12, CROP, CROP, 2) and batch.valid.shape == (12, 1, CROP, CROP)
    assert {x.dtype for x in vars(batch).values()} == {torch.float32}
    assert float(batch.first.min()) >= 0 and float(batch.first.max()) <= 1
    median = torch.stack([flow.flatten(0, 1).median(0).values for flow in batch.flow])
    assert {round(float(x)) for x in median[:, 0]} == {-3 * gap, 3 * gap}, "both ways round"
    assert torch.allclose(median.abs(), torch.tensor([3.0, 2.0]) * gap, atol=0.15)
    assert float(median[:, 1].min()) > 0
    assert float(batch.valid.mean()) > 0.5 and set(batch.valid.unique().tolist()) <= {0.0, 1.0}
    assert misfit(warp(batch.first, batch.flow), batch) < 2
    assert misfit(batch.first, batch) > 5
    assert misfit(warp(batch.first, -batch.flow), batch) > 5


def test_nothing_outside_the_crop_is_valid(pan: Path, cache: Path) -> None:
    batch = build_pairs([pan], cache, SIZE).batch(8, CROP, rng())
    outside = torch.where(batch.flow[:, 0, 0, 0] < 0, 0, CROP - 1)
    columns = batch.valid[torch.arange(8), 0, :, outside]
    assert float(columns.sum()) == 0
    assert float(batch.valid[:, 0, -1].sum()) == 0


def test_crops_are_a_function_of_the_random_numbers(pan: Path, cache: Path) -> None:
    pairs = build_pairs([pan], cache, SIZE)
    one, same, other = (pairs.batch(4, CROP, rng(seed)) for seed in (3, 3, 4))
    assert all(torch.equal(vars(one)[name], vars(same)[name]) for name in vars(one))
    assert not torch.equal(one.first, other.first)


def test_a_crop_may_be_the_whole_short_side_and_no_more(pan: Path, cache: Path) -> None:
    pairs = build_pairs([pan], cache, SIZE)
    assert pairs.batch(1, SIZE, rng()).first.shape[-1] == SIZE
    with pytest.raises(TrainError, match="crops of 104"):
        pairs.batch(1, 104, rng())


def test_pairs_are_spread_over_the_clip(tmp_path: Path, cache: Path) -> None:
    """Every frame is a little lighter than the one before it."""
    frames = [(x // 2 + 5 * i).astype(np.uint8) for i, x in enumerate(panning(21, 1, 0))]
    pairs = build_pairs([write_clip(tmp_path / "dawn.mp4", frames)], cache, SIZE, per_clip=4)
    assert len(pairs) == 4
    records = np.load(pairs.entries[0], mmap_mode="r")
    level = np.array([float(record["second"].mean()) for record in records])
    assert np.allclose(np.diff(level), 25, atol=5), "a quarter of the clip, five frames, apart"


def test_no_pair_lies_across_a_cut(tmp_path: Path, cache: Path) -> None:
    frames = panning(5, 2, 0, seed=1) + panning(5, 0, 2, seed=2)
    pairs = build_pairs([write_clip(tmp_path / "cut.mp4", frames)], cache, SIZE)
    assert len(pairs) == 8
    batch = pairs.batch(40, CROP, rng())
    assert misfit(warp(batch.first, batch.flow), batch) < 2


def test_frames_that_are_shown_twice_give_no_pairs(tmp_path: Path, cache: Path) -> None:
    """Half of the frames are repeats; the moving pairs are found, also where few are asked for."""
    frames = [x for x in panning(8, 3, 1) for _ in range(2)]
    clip = write_clip(tmp_path / "doubled.mp4", frames)
    assert len(build_pairs([clip], cache, SIZE)) == 7
    few = build_pairs([clip], cache, SIZE, per_clip=3)
    assert len(few) == 3
    assert float(few.batch(8, CROP, rng()).flow.norm(dim=-1).median()) > 2.5


def test_a_clip_without_motion_is_skipped_and_not_decoded_again(
    tmp_path: Path, cache: Path, pan: Path, decoded: list[str], caplog: pytest.LogCaptureFixture
) -> None:
    still = write_clip(tmp_path / "still.mp4", [texture(SIZE, 128, 1)] * 6)
    for _ in range(2):
        pairs, warnings = build_pairs([still, pan], cache, SIZE), logged(caplog)
        assert list(pairs.skipped) == [still]
        assert len(warnings) == 1 and "still.mp4" in warnings[0] and "moves" in warnings[0]
    assert decoded == ["still.mp4", "pan.mp4"]


def test_what_a_killed_run_left_is_removed(pan: Path, cache: Path) -> None:
    (entry,) = build_pairs([pan], cache, SIZE).entries
    entry.unlink()
    old, new = (cache / f".{entry.name}.{number:08}.part" for number in range(2))
    for part in (old, new):
        part.write_bytes(b"half")
    os.utime(old, (0, 0))
    build_pairs([pan], cache, SIZE)
    assert {path.name for path in cache.iterdir()} == {entry.name, new.name}, "another process may be writing it"


def test_what_is_cached_is_not_decoded_again(
    pan: Path, cache: Path, decoded: list[str], tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    caplog.set_level(logging.INFO, "train")
    first = build_pairs([pan], cache, SIZE)
    assert logged(caplog, logging.INFO) == ["motion of clip 1 of 1: 7 pairs from pan.mp4"]
    again = build_pairs([pan.rename(tmp_path / "renamed.mp4")], cache, SIZE)
    assert decoded == ["pan.mp4"] and logged(caplog, logging.INFO) == []
    assert again.entries == first.entries
    assert torch.equal(first.batch(2, CROP, rng()).flow, again.batch(2, CROP, rng()).flow)
    assert [path.suffix for path in cache.iterdir()] == [".pairs"], "nothing half-written stays"


@pytest.mark.parametrize("change", [{"size": 80}, {"gap": 2}, {"per_clip": 3}, {"format": 99}])
def test_other_settings_are_other_entries(
    pan: Path, cache: Path, change: dict[str, int], monkeypatch: pytest.MonkeyPatch
) -> None:
    first = build_pairs([pan], cache, SIZE)
    monkeypatch.setattr(clips, "FORMAT", change.pop("format", clips.FORMAT))
    second = build_pairs([pan], cache, **({"size": SIZE} | change))
    assert not set(second.entries) & set(first.entries)


def cut_short(entry: Path) -> None:
    entry.write_bytes(entry.read_bytes()[:1000])


def emptied(entry: Path) -> None:
    entry.write_bytes(b"")


def one_bit(entry: Path) -> None:
    data = bytearray(entry.read_bytes())
    data[len(data) // 2] ^= 1
    entry.write_bytes(data)


@pytest.mark.parametrize("damage", [cut_short, emptied, one_bit])
def test_a_damaged_entry_is_rebuilt(pan: Path, cache: Path, decoded: list[str], damage: object) -> None:
    pairs = build_pairs([pan], cache, SIZE)
    expected = pairs.batch(2, CROP, rng())
    assert callable(damage)
    damage(pairs.entries[0])
    again = build_pairs([pan], cache, SIZE)
    assert decoded == ["pan.mp4"] * 2
    assert torch.equal(again.batch(2, CROP, rng()).first, expected.first)


def test_an_entry_that_goes_while_training_is_told(pan: Path, cache: Path) -> None:
    pairs = build_pairs([pan], cache, SIZE)
    pairs.entries[0].unlink()
    with pytest.raises(TrainError, match="cache lost"):
        pairs.batch(1, CROP, rng())


def test_two_at_once_leave_whole_entries(pan: Path, cache: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Both find nothing, both decode, both write: the barrier lets neither be first."""
    both = threading.Barrier(2, timeout=20)
    write = clips._write

    def write_together(entry: Path, records: clips.Records) -> None:
        both.wait()
        write(entry, records)

    monkeypatch.setattr(clips, "_write", write_together)
    made: list[PairSet] = []
    threads = [threading.Thread(target=lambda: made.append(build_pairs([pan], cache, SIZE))) for _ in range(2)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert len(made) == 2 and made[0].entries == made[1].entries
    assert clips._is_intact(made[0].entries[0]) and len(os.listdir(cache)) == 1


def test_a_crash_while_writing_leaves_nothing(pan: Path, cache: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def crash(*_: object) -> None:
        raise KeyboardInterrupt

    with monkeypatch.context() as patch:
        patch.setattr(os, "fsync", crash)
        with pytest.raises(KeyboardInterrupt):
            build_pairs([pan], cache, SIZE)
    assert os.listdir(cache) == []
    assert len(build_pairs([pan], cache, SIZE)) == 7


def test_a_full_disk_is_one_clear_line(pan: Path, cache: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def full(*_: object) -> None:
        raise OSError(28, "No space left on device")

    monkeypatch.setattr(os, "fsync", full)
    with pytest.raises(TrainError, match="No space left") as caught:
        build_pairs([pan], cache, SIZE)
    assert "space" in caught.value.hint and os.listdir(cache) == []


def test_a_cache_that_is_a_file_is_told(pan: Path, tmp_path: Path) -> None:
    (tmp_path / "file").write_text("no folder")
    for cache in (tmp_path / "file", tmp_path / "file" / "below"):
        with pytest.raises(TrainError, match="cannot store"):
            build_pairs([pan], cache, SIZE)


def test_bad_clips_are_skipped_by_name(
    pan: Path, cache: Path, tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    noise, empty, gone = tmp_path / "noise.mp4", tmp_path / "empty.mov", tmp_path / "gone.mkv"
    noise.write_bytes(rng().bytes(5000))
    empty.touch()
    strip = write_clip(tmp_path / "strip.mp4", panning(4, 1, 0, height=16, width=96))
    single = write_clip(tmp_path / "single.mp4", panning(1, 0, 0))
    bad = [noise, empty, gone, strip, single]
    pairs, warnings = build_pairs([*bad, pan], cache, SIZE), logged(caplog)
    assert list(pairs.skipped) == bad and len(pairs) == 7
    for clip, warning in zip(bad, warnings, strict=True):
        assert clip.name in warning and "\n" not in warning
    with pytest.raises(TrainError, match="none of the clips"):
        build_pairs(bad, cache, SIZE)
    with pytest.raises(TrainError, match="none of the clips"):
        build_pairs([], cache, SIZE)


def test_a_clip_cut_off_in_the_middle_gives_what_it_has(tmp_path: Path, cache: Path) -> None:
    whole = write_clip(tmp_path / "whole.mkv", panning(20, 2, 1))
    cut = tmp_path / "cut.mkv"
    cut.write_bytes(whole.read_bytes()[: whole.stat().st_size // 2])
    assert 1 <= len(build_pairs([cut], cache, SIZE)) < 19


def test_rotated_clips_are_upright_and_sizes_may_differ(tmp_path: Path, cache: Path, pan: Path) -> None:
    """The stored frames move to the right by 4; shown upright they move up or down."""
    turned = write_clip(tmp_path / "turned.mp4", panning(6, 4, 0, height=100, width=140), rotation=90)
    pairs = build_pairs([turned], cache, SIZE)
    assert np.load(pairs.entries[0], mmap_mode="r")["valid"].shape[1:] == (round(140 * SIZE / 100), SIZE)
    flow = pairs.batch(4, CROP, rng()).flow.flatten(0, 2).median(0).values.abs()
    assert float(flow[0]) < 0.2 and float(flow[1]) == pytest.approx(4 * SIZE / 100, abs=0.2)
    both = build_pairs([turned, pan], cache, SIZE)
    assert both.batch(16, CROP, rng()).first.shape == (16, 3, CROP, CROP)


def test_a_clip_that_does_not_tell_its_length_is_counted(tmp_path: Path, cache: Path) -> None:
    raw = write_clip(tmp_path / "raw.mp4", panning(13, 2, 0)).rename(tmp_path / "a.mp4")
    with av.open(str(raw)) as source, av.open(str(tmp_path / "raw.h264"), "w", format="h264") as out:
        stream = out.add_stream_from_template(source.streams.video[0])
        for packet in source.demux(video=0):
            if packet.size:
                packet.stream = stream
                out.mux(packet)
    assert len(build_pairs([tmp_path / "raw.h264"], cache, SIZE, per_clip=6)) == 6


def test_clips_are_found_everywhere_in_order(tmp_path: Path) -> None:
    folder = tmp_path / "clips"
    (folder / "deep").mkdir(parents=True)
    for name in ("b.MP4", "deep/a.webm", ".hidden.mp4", "notes.txt", "c.jpg"):
        (folder / name).touch()
    (folder / "folder.mov").mkdir()
    assert clip_files(folder) == [folder / "b.MP4", folder / "deep" / "a.webm"]


def test_folders_without_clips_are_told(tmp_path: Path) -> None:
    with pytest.raises(TrainError, match="no clips in") as caught:
        clip_files(tmp_path)
    assert ".mp4" in caught.value.hint
    with pytest.raises(TrainError, match="no such folder") as caught:
        clip_files(tmp_path / "none")
    assert "--clips" in caught.value.hint


def test_a_real_clip_gives_pairs_that_fit(data_dir: Path, cache: Path) -> None:
    pairs = build_pairs([data_dir / "video" / "imageio__realshort.mp4"], cache, 128, per_clip=6)
    assert len(pairs) == 6
    batch = pairs.batch(12, CROP, rng())
    assert misfit(warp(batch.first, batch.flow), batch) < 0.6 * misfit(batch.first, batch)
