"""Settings are checked once, and every fault is told."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

from engines.errors import ConfigError
from train.config import TrainConfig, Weights

PLACES = (Path("deep/painting.jpg"), Path("deep/photos"), Path("deep/out"))


def test_all_faults_are_reported_together() -> None:
    with pytest.raises(ConfigError) as caught:
        TrainConfig(
            *PLACES, steps=0, batch=-1, crop=100, style_size=1, learning_rate=2.0, freeze_at=1.5, minutes=0.0,
            hold_out=-3, weights=Weights(style=-1.0),
        )  # fmt: skip
    for name in ("steps", "batch", "crop", "style_size", "learning_rate", "freeze_at", "minutes", "hold_out", "style"):
        assert name in caught.value.problem
    assert caught.value.hint


@pytest.mark.parametrize("name", ["learning_rate", "freeze_at", "minutes", "motion", "noise_sigma"])
def test_what_is_not_a_number_is_refused(name: str) -> None:
    with pytest.raises(ConfigError, match=name):
        TrainConfig(*PLACES, **{name: float("nan")})  # type: ignore[arg-type]


@pytest.mark.parametrize("value", [float("nan"), float("inf")])
def test_weights_are_finite(value: float) -> None:
    with pytest.raises(ConfigError, match="content"):
        TrainConfig(*PLACES, weights=Weights(content=value))


def test_the_record_is_plain_and_names_no_folder() -> None:
    text = json.dumps(TrainConfig(*PLACES).to_dict())
    assert "painting.jpg" in text
    assert "deep" not in text
