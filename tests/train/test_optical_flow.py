"""Optical flow against known motion."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest

from engines.errors import TrainError
from tests.train.flow_files import read_flow
from tests.train.pictures import shifted
from train.data import optical_flow as optical


def test_pull_fetches_from_where_the_flow_points() -> None:
    x = np.arange(20, dtype=np.float32)[None].repeat(10, axis=0)
    flow = np.zeros((10, 20, 2), np.float32)
    flow[..., 0] = 2.5
    assert np.allclose(optical.backward_warp(x, flow)[:, :17], x[:, :17] + 2.5, atol=0.05)


@pytest.mark.parametrize(("dx", "dy"), [(3, 0), (-2, 4)])
def test_estimated_flow_finds_a_shift(dx: int, dy: int) -> None:
    first, second = shifted(2, dx, dy)
    flow = optical.estimate_flow(first, second)[16:-16, 16:-16]
    assert np.abs(np.median(flow, axis=(0, 1)) - [dx, dy]).max() < 0.1


def test_what_leaves_the_picture_or_does_not_return_is_occluded() -> None:
    forward = np.zeros((20, 30, 2), np.float32)
    forward[..., 0] = 4.0
    occluded = optical.occluded(forward, -forward)
    assert occluded[:, 26:].all() and not occluded[:, :26].any()
    assert optical.occluded(forward, forward)[:, :26].all()


def test_motion_boundaries_are_occluded() -> None:
    forward = np.zeros((20, 30, 2), np.float32)
    forward[:, 15:, 1] = 3.0
    forward[:, :15, 1] = -3.0
    occluded = optical.occluded(forward, -forward)
    assert occluded[:, 14:16].all()


def test_a_file_that_is_no_flow_is_refused(tmp_path: Path) -> None:
    (tmp_path / "a.flo").write_bytes(b"PNG")
    with pytest.raises(TrainError, match="not a Middlebury"):
        read_flow(tmp_path / "a.flo")


def test_flow_files_are_read(tmp_path: Path) -> None:
    flow = np.random.default_rng(0).normal(size=(3, 5, 2)).astype("<f4")
    path = tmp_path / "a.flo"
    path.write_bytes(b"PIEH" + np.array([5, 3], "<i4").tobytes() + flow.tobytes())
    assert np.array_equal(read_flow(path), flow)


@pytest.mark.parametrize("length", [4, 10, 60])
def test_a_flow_file_that_is_cut_short_is_refused(tmp_path: Path, length: int) -> None:
    whole = b"PIEH" + np.array([4, 4], "<i4").tobytes() + bytes(4 * 4 * 2 * 4)
    (tmp_path / "a.flo").write_bytes(whole[:length])
    with pytest.raises(TrainError, match="truncated"):
        read_flow(tmp_path / "a.flo")
