"""What steps are made from: clips where something is learned from them, and a word where nothing is."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import torch

from tests.train.messages import logged
from train.config.schema import TrainConfig
from train.data import batches
from train.data.batches import BatchLoader, unused_inputs
from train.data.clips import PairBatch


class Pairs:
    """Pairs of frames that nobody had to decode."""

    def batch(self, count: int, crop: int, _rng: object) -> PairBatch:
        """Black."""
        x = torch.zeros(count, 3, crop, crop)
        return PairBatch(x, x, torch.zeros(count, crop, crop, 2), x[:, :1])


@pytest.fixture
def clips(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A folder of one clip, which gives pairs for a batch."""
    folder = tmp_path / "clips"
    folder.mkdir()
    (folder / "pan.mp4").write_bytes(b"a clip")

    monkeypatch.setattr(batches, "build_pairs", lambda *_: Pairs())
    return folder


Make = Callable[..., TrainConfig]


def test_clips_give_pairs(config: Make, clips: Path) -> None:
    made = BatchLoader(config(data={"clips": clips}, motion={"source": "clips"}))
    assert made(0).pairs is not None


@pytest.mark.parametrize("sections", [{"losses": {"temporal": 0.0}, "motion": {"source": "both"}},
                                      {"motion": {"source": "synthetic"}}, {"motion": {"source": "none"}}])  # fmt: skip
def test_clips_from_which_nothing_is_learned_are_told_and_not_decoded(
    config: Make, clips: Path, sections: dict[str, dict[str, Any]], caplog: pytest.LogCaptureFixture
) -> None:
    made = BatchLoader(config(data={"clips": clips}, **sections))
    assert made.pairs is None and made(1).pairs is None
    (line,) = logged(caplog)
    assert str(clips) in line and ("losses.temporal" if "losses" in sections else "motion.source=both") in line


def test_works_from_which_nothing_is_learned_are_told(config: Make, tmp_path: Path) -> None:
    works = {"style_pictures": tmp_path}
    (line,) = unused_inputs(config(data=works))
    assert "losses.adversarial=1" in line and str(tmp_path) in line
    assert not unused_inputs(config(data=works, losses={"adversarial": 1.0}))
    assert not unused_inputs(config(data=works | {"style_picture": None})), "the strokes are theirs"
    assert not unused_inputs(config())
