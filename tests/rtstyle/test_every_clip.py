"""Real clips, all of them, through the whole path with an engine that changes nothing."""

from __future__ import annotations

import os
from pathlib import Path

import av
import numpy as np
import pytest

from rtstyle.sources.file import FileSource
from rtstyle.video import VideoJob, stylize_video
from tests.rtstyle.clips import Seen, Still

_FOLDER = Path(os.environ.get("RTSTYLE_DATA", Path(__file__).parents[3] / "shared" / "data")) / "video"
CLIPS = sorted(p for p in _FOLDER.glob("*") if p.suffix in (".mp4", ".mov", ".mkv", ".webm", ".avi"))


@pytest.mark.slow
@pytest.mark.skipif(not CLIPS, reason=f"no clips in {_FOLDER}; set RTSTYLE_DATA")
@pytest.mark.parametrize("clip", CLIPS, ids=lambda clip: clip.name)
def test_kept(clip: Path, tmp_path: Path) -> None:
    out = tmp_path / f"out{clip.suffix}"
    report = stylize_video(VideoJob(str(clip), out), Still)
    before, after = Seen.of(clip), Seen.of(out)

    assert report.frames_out == len(before.times) == len(after.times)
    assert report.frames_lost == 0
    assert after.times == pytest.approx(before.times, abs=0.0011 if clip.suffix in (".mkv", ".webm") else 1e-6)
    turned = before.rotation % 180 == 90
    assert (after.height, after.width) == ((before.width, before.height) if turned else (before.height, before.width))
    assert after.rotation == 0
    # Copied AAC gets its padding back that an edit list had hidden: up to two packets of 1024 samples.
    assert after.duration == pytest.approx(before.duration, abs=0.05)
    assert after.packets.get("subtitle", 0) == before.packets.get("subtitle", 0)
    assert payload(out) == payload(clip)
    for key in ("title", "creation_time", "location", "com.apple.quicktime.make"):
        # 1970 is how MP4 says that nobody set the clock.
        if key in before.metadata and not before.metadata[key].startswith("1970"):
            assert after.metadata.get(key) == before.metadata[key]
    assert colour_error(clip, out) < 3.5


def payload(path: Path) -> list[bytes]:
    """Packets of sound, without those that an edit list hides; before the beginning they are kept, and hidden again."""
    with av.open(str(path)) as file:
        packets = [p for p in file.demux(*file.streams.audio) if p.size] if file.streams.audio else []
        return [bytes(p) for p in packets if not p.is_discard or (p.pts or 0) < 0]


def colour_error(clip: Path, out: Path) -> float:
    """Mean difference over the first frames, in 8-bit steps, and no shift of any channel by more than one."""
    first, second = FileSource(str(clip)), FileSource(str(out))
    pairs = [
        (a.rgb.astype(int), b.rgb.astype(int))
        for a, b, _ in zip(first.frames(), second.frames(), range(10), strict=False)
    ]
    first.close()
    second.close()
    difference = np.array([(b - a).mean((0, 1)) for a, b in pairs]).mean(0)
    assert np.abs(difference).max() < 1
    return float(np.mean([np.abs(b - a).mean() for a, b in pairs]))
