"""A segment that is decoded from a key frame in the middle has the frames of the whole clip, bit for bit."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import pytest

from rtstyle.jobs.segment_plan import plan
from rtstyle.jobs.segment_reader import SegmentReader, UnplannedError
from rtstyle.video import VideoJob
from rtstyle.video_ends import open_clip
from tests.rtstyle import test_unusual_pictures as unusual
from tests.rtstyle.clips import Clip

OPEN = {"x264-params": "open-gop=1:keyint=12:min-keyint=12:bframes=3:scenecut=0"}


@pytest.mark.parametrize(
    ("name", "made", "fewest"),
    [
        ("closed.mp4", {"options": {"bf": "3", "g": "7"}, "sound": "aac"}, 9),
        ("open.mp4", {"options": OPEN}, 8),
        ("open.mkv", {"options": OPEN}, 8),
        ("vp9.webm", {"codec": "libvpx-vp9", "options": {"g": "10"}}, 9),
        ("one-key.mp4", {"options": {"g": "1000"}}, 0),
    ],
)
def test_segments_are_sought(tmp_path: Path, name: str, made: dict[str, Any], fewest: int) -> None:
    job = VideoJob(str(Clip(**{"frames": 95, **made}).write(tmp_path / name)), tmp_path / "out.mp4", segment_s=0.4)
    clip = open_clip(job)
    planned = plan(job, clip)
    assert planned is not None and not planned.frames_lost
    whole = {frame.pts: frame.rgb for frame in clip.frames()}
    seen, sought = list[int](), 0
    for number, segment in planned.segments.items():
        reader = SegmentReader(open_clip(job), job.segment_s, number, segment)
        for frame in reader.segment(number, segment):
            np.testing.assert_array_equal(frame.rgb, whole[frame.pts])
            seen.append(frame.pts)
        assert reader.end_pts == (clip.end_pts if segment.next_pts is None else segment.next_pts)
        sought += not reader.exact
        reader.close()
    assert seen == list(whole)
    assert sought >= fewest


def test_other_frames_than_planned_are_noticed(tmp_path: Path) -> None:
    job = VideoJob(str(Clip(frames=60).write(tmp_path / "in.mp4")), tmp_path / "out.mp4", segment_s=0.4)
    planned = plan(job, open_clip(job))
    assert planned is not None
    other = VideoJob(str(Clip(frames=60, fps=24).write(tmp_path / "other.mp4")), job.output, segment_s=0.4)
    reader = SegmentReader(open_clip(other), job.segment_s, 2, planned.segments[2])
    with pytest.raises(UnplannedError):
        list(reader.segment(2, planned.segments[2]))
    reader.close()


@pytest.mark.parametrize("name", ["broadcast.ts", "raw.h264"])
def test_what_cannot_be_planned(tmp_path: Path, name: str) -> None:
    job = VideoJob(str(Clip(frames=60).write(tmp_path / name)), tmp_path / "out.mp4", segment_s=0.4)
    assert plan(job, open_clip(job)) is None


def test_interlaced_pictures_are_not_planned(tmp_path: Path) -> None:
    """Each depends on its neighbours: one that is decoded from a key frame on would look different."""
    job = VideoJob(str(unusual.TestInterlaced.clip(tmp_path / "in.mp4", 30)), tmp_path / "out.mp4", segment_s=0.4)
    assert plan(job, open_clip(job)) is None
