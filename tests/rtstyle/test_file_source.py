from __future__ import annotations

import threading
from fractions import Fraction
from pathlib import Path

import av
import numpy as np
import pytest

from engines.errors import SourceError
from rtstyle.media.hdr import encode_srgb, pq_nits, tone_map
from rtstyle.media.resize import size_for_height
from rtstyle.sources.file import FileSource
from rtstyle.sources.orientation import Orientation
from rtstyle.sources.timestamps import Timeline
from tests.rtstyle.clips import Clip, number_of, numbered, write_sound

COLOURS = ((200, 30, 30), (30, 180, 40), (40, 50, 200), (120, 120, 120))


def read(path: Path | str, **options: object) -> tuple[list[int], list[float], FileSource]:
    source = FileSource(str(path), **options)  # type: ignore[arg-type]
    try:
        frames = list(source.frames())
    finally:
        source.close()
    assert [frame.index for frame in frames] == list(range(len(frames)))
    assert all(frame.rgb.flags.c_contiguous and frame.rgb.dtype == np.uint8 for frame in frames)
    return [number_of(frame.rgb) for frame in frames], [float(frame.pts * frame.time_base) for frame in frames], source


def test_every_frame_with_its_time(tmp_path: Path) -> None:
    numbers, times, source = read(Clip(frames=30).write(tmp_path / "a.mp4"))
    assert numbers == list(range(30))
    assert times == pytest.approx([i / 25 for i in range(30)])
    assert source.info.frame_count == 30
    assert source.info.fps == 25
    assert (source.info.width, source.info.height) == (64, 48)
    assert source.warnings == []
    assert source.end_pts is not None
    assert float(source.end_pts * source.time_base) == pytest.approx(30 / 25)


def test_variable_rate(tmp_path: Path) -> None:
    pts = [0, 40, 50, 1000, 1001, 3000]
    clip = Clip(pts=pts, time_base=Fraction(1, 1000))
    numbers, times, _ = read(clip.write(tmp_path / "a.mkv"))
    assert numbers == list(range(6))
    assert times == pytest.approx([t / 1000 for t in pts])


def test_b_frames_come_in_order_of_presentation(tmp_path: Path) -> None:
    clip = Clip(frames=40, options={"preset": "medium", "bf": "3"})
    assert read(clip.write(tmp_path / "a.mp4"))[0] == list(range(40))


def test_video_that_is_not_the_first_track_gives_its_last_frames_too(tmp_path: Path) -> None:
    path = Clip(frames=12, sound="aac").write(tmp_path / "a.mp4")
    swapped = tmp_path / "b.mp4"
    with av.open(str(path)) as file, av.open(str(swapped), "w") as out:
        streams = {1: out.add_stream_from_template(file.streams[1])}
        streams[0] = out.add_stream_from_template(file.streams[0], opaque=True)
        for packet in file.demux():
            if packet.dts is not None:
                packet.stream = streams[packet.stream.index]
                out.mux(packet)
    with av.open(str(swapped)) as file:
        assert file.streams[0].type == "audio"
    assert read(swapped)[0] == list(range(12))


@pytest.mark.parametrize("pixel_format", ["yuv420p", "yuv422p", "yuv444p", "yuv420p10le", "yuvj420p", "gray"])
@pytest.mark.parametrize("size", [(48, 64), (50, 70), (34, 32)])
def test_pixel_formats_and_padded_rows(tmp_path: Path, pixel_format: str, size: tuple[int, int]) -> None:
    clip = Clip(frames=3, height=size[0], width=size[1], pixel_format=pixel_format, full=pixel_format == "yuvj420p")
    source = FileSource(str(clip.write(tmp_path / "a.mkv")))
    rgbs = [frame.rgb for frame in source.frames()]
    source.close()
    assert [rgb.shape for rgb in rgbs] == [(*size, 3)] * 3
    assert [number_of(rgb) for rgb in rgbs] == [0, 1, 2]
    error = np.abs(rgbs[1].astype(int) - numbered(1, *size)).mean()
    assert pixel_format == "gray" or error < 4


def test_odd_size(tmp_path: Path) -> None:
    clip = Clip(frames=3, height=49, width=65, pixel_format="yuv444p")
    source = FileSource(str(clip.write(tmp_path / "a.mp4")))
    rgb = next(source.frames()).rgb
    source.close()
    assert np.abs(rgb.astype(int) - numbered(0, 49, 65)).mean() < 2


@pytest.mark.parametrize("matrix", [1, 5, 6, 9])
@pytest.mark.parametrize("full", [False, True])
def test_tagged_colours_come_back(tmp_path: Path, matrix: int, full: bool) -> None:
    path = Clip(frames=2, pixel_format="yuv444p", matrix=matrix, full=full).write(tmp_path / "a.mp4")
    source = FileSource(str(path))
    rgb = next(source.frames()).rgb
    source.close()
    assert np.abs(rgb.astype(int) - numbered(0)).max() <= 4
    assert source.colour.matrix == matrix


@pytest.mark.parametrize(("height", "matrix"), [(48, 5), (720, 1)])
def test_untagged_colours_go_by_size(tmp_path: Path, height: int, matrix: int) -> None:
    clip = Clip(frames=1, height=height, width=1280 if height == 720 else 64, matrix=matrix, tagged=False)
    source = FileSource(str(clip.write(tmp_path / "a.mp4")))
    rgb = next(source.frames()).rgb
    source.close()
    for i, colour in enumerate(COLOURS):
        patch = rgb[height * 3 // 4, (2 * i + 1) * rgb.shape[1] // 8]
        assert np.abs(patch.astype(int) - colour).max() <= 4


def test_hdr_is_converted_with_a_warning(tmp_path: Path) -> None:
    path = tmp_path / "a.mkv"
    with av.open(str(path), "w") as out:
        # Of one frame that might be reordered, x265 takes the decoding time from memory that it never wrote.
        video = out.add_stream("libx265", rate=25, options={"x265-params": "log-level=none:bframes=0"})
        video.width, video.height, video.pix_fmt = 64, 48, "yuv420p10le"
        context = video.codec_context
        context.colorspace, context.color_primaries, context.color_trc, context.color_range = 9, 9, 16, 1
        frame = av.VideoFrame.from_ndarray(numbered(0)).reformat(
            format="yuv420p10le", dst_colorspace=9, dst_color_range=1
        )
        frame.pts = 0
        out.mux(video.encode(frame))
        out.mux(video.encode(None))
    source = FileSource(str(path))
    rgb = next(source.frames()).rgb
    source.close()
    assert [w for w in source.warnings if "PQ" in w]
    assert source.colour.matrix == 1
    expected = encode_srgb(tone_map(pq_nits(np.array(120 / 255)))) * 255
    assert rgb[36, 56].mean() == pytest.approx(float(expected), abs=3)


@pytest.mark.parametrize(("rotation", "turns"), [(0, 0), (90, 1), (180, 2), (-90, 3), (270, 3)])
def test_rotation_makes_frames_upright(tmp_path: Path, rotation: int, turns: int) -> None:
    path = Clip(frames=2, rotation=rotation, pixel_format="yuv444p").write(tmp_path / "a.mp4")
    source = FileSource(str(path))
    rgb = next(source.frames()).rgb
    source.close()
    assert (source.info.height, source.info.width) == rgb.shape[:2]
    assert np.abs(rgb.astype(int) - np.rot90(numbered(0), turns)).mean() < 2


@pytest.mark.parametrize("transpose", [False, True])
@pytest.mark.parametrize("flip_x", [False, True])
@pytest.mark.parametrize("flip_y", [False, True])
def test_all_eight_orientations(transpose: bool, flip_x: bool, flip_y: bool) -> None:
    rgb = numbered(5)
    expected = rgb.transpose(1, 0, 2) if transpose else rgb
    expected = expected[:, ::-1] if flip_x else expected
    expected = expected[::-1] if flip_y else expected
    orientation = Orientation(transpose, flip_x, flip_y)
    turned = orientation.apply(rgb)
    assert np.array_equal(turned, expected)
    assert turned.flags.c_contiguous
    assert orientation.size(48, 64) == turned.shape[:2]


@pytest.mark.parametrize("rotation", [None, 90])
def test_height(tmp_path: Path, rotation: int | None) -> None:
    source = FileSource(str(Clip(frames=4, rotation=rotation).write(tmp_path / "a.mp4")), height=32)
    frames = list(source.frames())
    source.close()
    assert frames[0].rgb.shape == ((32, 24, 3) if rotation else (32, 42, 3))
    assert (source.info.height, source.info.width) == frames[0].rgb.shape[:2]


def test_size_for_height_keeps_proportions_and_even_width() -> None:
    assert size_for_height(1080, 1920, 360) == (360, 640)
    assert size_for_height(1080, 1920, None) == (1080, 1920)
    assert size_for_height(480, 853, 240) == (240, 426)
    assert size_for_height(49, 65, 49) == (49, 65)


@pytest.mark.parametrize("keyint", ["1", "250"])
def test_start_and_end(tmp_path: Path, keyint: str) -> None:
    path = Clip(frames=50, options={"g": keyint}).write(tmp_path / "a.mp4")
    assert read(path, start=0.8, end=1.2)[0] == list(range(20, 30))
    assert read(path, start=1.8)[0] == list(range(45, 50))
    assert read(path, end=0.2)[0] == list(range(5))


def test_start_after_the_end(tmp_path: Path) -> None:
    path = Clip(frames=10).write(tmp_path / "a.mp4")
    with pytest.raises(SourceError, match="after 60 s"):
        FileSource(str(path), start=60)


def test_pixel_aspect_turns_with_the_picture(tmp_path: Path) -> None:
    path = Clip(frames=1, pixel_aspect=Fraction(4, 3), rotation=90).write(tmp_path / "a.mp4")
    source = FileSource(str(path))
    source.close()
    assert source.pixel_aspect == Fraction(3, 4)


def test_timeline_repairs_only_what_is_broken() -> None:
    timeline = Timeline(Fraction(1, 1000), Fraction(25))
    given = [0, 40, 40, None, 30, 200, None, 280]
    assert [timeline.next(pts) for pts in given] == [0, 40, 41, 81, 82, 200, 240, 280]
    assert timeline.repaired == 4


def test_no_timestamps_at_all(tmp_path: Path) -> None:
    path = Clip(frames=10).write(tmp_path / "a.h264")
    numbers, times, _ = read(path)
    assert numbers == list(range(10))
    assert times == sorted(set(times))


class TestDamage:
    def test_cut_in_the_middle(self, tmp_path: Path) -> None:
        path = Clip(frames=100, file_options={"movflags": "faststart"}, options={"g": "10"}).write(tmp_path / "a.mp4")
        path.write_bytes(path.read_bytes()[: path.stat().st_size // 2])
        numbers, _, source = read(path)
        assert numbers == list(range(len(numbers)))
        assert 20 < len(numbers) < 80
        assert source.frames_lost == pytest.approx(100 - len(numbers), abs=1)
        assert len([w for w in source.warnings if "lost" in w]) == 1

    @pytest.mark.parametrize("ending", ["mkv", "webm"])
    def test_cut_without_an_index(self, tmp_path: Path, ending: str) -> None:
        clip = Clip(frames=100, sound="libopus", codec="libvpx" if ending == "webm" else "libx264")
        path = clip.write(tmp_path / f"a.{ending}")
        path.write_bytes(path.read_bytes()[: path.stat().st_size // 2])
        numbers, _, source = read(path)
        assert numbers == list(range(len(numbers)))
        assert source.frames_lost == pytest.approx(100 - len(numbers), abs=3)

    def test_a_long_sound_is_no_loss(self, tmp_path: Path) -> None:
        path = Clip(frames=20, sound="libopus").write(tmp_path / "a.mkv")
        assert read(path)[2].frames_lost == 0

    def test_index_missing(self, tmp_path: Path) -> None:
        path = Clip(frames=100).write(tmp_path / "a.mp4")
        path.write_bytes(path.read_bytes()[: path.stat().st_size // 2])
        with pytest.raises(SourceError, match="cut off"):
            FileSource(str(path))

    def test_flipped_bytes_never_raise(self, tmp_path: Path) -> None:
        original = Clip(frames=60, file_options={"movflags": "faststart"}, options={"g": "10"}).write(
            tmp_path / "a.mp4"
        )
        data = bytearray(original.read_bytes())
        random = np.random.default_rng(7)
        for place in random.integers(6000, len(data), 40):
            data[place] ^= 0xFF
        path = tmp_path / "b.mp4"
        path.write_bytes(data)
        numbers, times, source = read(path)
        assert len(numbers) + source.frames_lost >= 55
        assert times == sorted(set(times))

    def test_rubbish_never_hangs(self, tmp_path: Path) -> None:
        random = np.random.default_rng(3)
        for i in range(20):
            path = tmp_path / f"{i}.mp4"
            path.write_bytes(random.bytes(5000))
            with pytest.raises(SourceError):
                FileSource(str(path))


class TestRefusals:
    def test_no_such_file(self, tmp_path: Path) -> None:
        with pytest.raises(SourceError, match="no such file"):
            FileSource(str(tmp_path / "nothing.mp4"))

    def test_folder(self, tmp_path: Path) -> None:
        with pytest.raises(SourceError, match="folder"):
            FileSource(str(tmp_path))

    def test_empty(self, tmp_path: Path) -> None:
        (tmp_path / "a.mp4").touch()
        with pytest.raises(SourceError, match="empty"):
            FileSource(str(tmp_path / "a.mp4"))

    @pytest.mark.parametrize("name", ["a.mp4", "a.txt"])
    def test_text(self, tmp_path: Path, name: str) -> None:
        (tmp_path / name).write_text("once upon a time\n" * 100)
        with pytest.raises(SourceError):
            FileSource(str(tmp_path / name))

    def test_sound_only(self, tmp_path: Path) -> None:
        path = tmp_path / "a.m4a"
        with av.open(str(path), "w", format="mp4") as out:
            write_sound(out, out.add_stream("aac", rate=48000), 0.1)
        with pytest.raises(SourceError, match="no video"):
            FileSource(str(path))

    def test_name_with_a_colon(self, tmp_path: Path) -> None:
        path = Clip(frames=2).write(tmp_path / "plain.mp4").rename(tmp_path / "a:b%d 'ü'.mp4")
        assert read(path)[0] == [0, 1]


def test_closing_from_another_thread_ends_the_frames(tmp_path: Path) -> None:
    """A paced clip waits for its second frame for an hour; closing ends that."""
    clip = Clip(pts=[0, 3600 * 1000], time_base=Fraction(1, 1000))
    source = FileSource(str(clip.write(tmp_path / "a.mkv")), live=True)
    assert source.info.live
    got, first = [], threading.Event()

    def fetch() -> None:
        for frame in source.frames():
            got.append(frame)
            first.set()

    reader = threading.Thread(target=fetch)
    reader.start()
    assert first.wait(5)
    source.close()
    source.close()
    reader.join(5)
    assert not reader.is_alive()
    assert len(got) == 1


def test_frames_of_a_closed_source(tmp_path: Path) -> None:
    source = FileSource(str(Clip(frames=2).write(tmp_path / "a.mp4")))
    source.close()
    assert list(source.frames()) == []
