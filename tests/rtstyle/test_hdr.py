from __future__ import annotations

import numpy as np
import pytest

from rtstyle.media.hdr import ToneMapper, encode_srgb, hlg_nits, pq_nits, tone_map


def test_known_answers_of_the_curves() -> None:
    """PQ: 10-bit codes of BT.2408; HLG: 75 % is white paper."""
    assert pq_nits(np.array([0.0, 0.5081, 0.5806, 0.7518, 1.0])) == pytest.approx([0, 100, 203, 1000, 10_000], rel=0.01)
    assert hlg_nits(np.array([0.0, 0.75, 1.0])) == pytest.approx([0, 203, 1000], rel=0.01)
    assert encode_srgb(np.array([0.0, 0.5, 1.0])) == pytest.approx([0, 0.7354, 1], abs=1e-3)


def test_brighter_stays_brighter_and_fits() -> None:
    light = tone_map(np.linspace(0, 10_000, 1000))
    assert light[0] == 0
    assert light[-1] == 1
    assert np.all(np.diff(light) >= 0)


@pytest.mark.parametrize("curve", ["PQ", "HLG"])
def test_grey_stays_grey_and_grows(curve: str) -> None:
    grey = np.repeat(np.arange(256, dtype=np.uint8), 3).reshape(1, 256, 3)
    mapped = ToneMapper(curve)(grey)
    assert mapped.shape == grey.shape
    assert int(np.ptp(mapped, axis=2).max()) <= 1
    assert np.all(np.diff(mapped[0, :, 1].astype(int)) >= 0)
    assert mapped[0, 0].tolist() == [0, 0, 0]
    assert mapped[0, 255].tolist() == [255, 255, 255]
