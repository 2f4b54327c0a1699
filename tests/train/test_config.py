"""Settings are checked once, and every fault is told."""

from __future__ import annotations

import contextlib
import json
from dataclasses import asdict
from pathlib import Path
from typing import Any

import pytest

from engines.errors import ConfigError, SettingsError
from engines.model.generator import Arch
from train.config.diff import FIXED, IGNORED, blocking_changes, diff
from train.config.schema import KINDS, SECTIONS, GeneratorConfig, LossWeights, TrainConfig, build
from train.losses.discriminator import Discriminator

PLACES: dict[str, dict[str, Any]] = {
    "data": {"style_picture": Path("deep/painting.jpg"), "content": Path("deep/photos")},
    "run": {"out": Path("deep/out")},
}
LIMITS: dict[str, dict[str, float]] = {
    f"{section}.{member}": {
        limit: getattr(note, limit)
        for note in info.metadata
        for limit in ("ge", "gt", "le", "lt")
        if hasattr(note, limit)
    }
    for section, kind in SECTIONS.items()
    for member, info in kind.__pydantic_fields__.items()
}
"""Limits of every setting."""

NUMBERS = [name for name, kind in KINDS.items() if kind in (int, float, float | None)]


def made(**sections: dict[str, Any]) -> TrainConfig:
    """Settings that hold, but for what is given."""
    given = {name: PLACES.get(name, {}) | sections.get(name, {}) for name in PLACES | sections}
    return build({f"{section}.{name}": value for section, members in given.items() for name, value in members.items()})


def at(name: str, value: object) -> dict[str, dict[str, Any]]:
    """``section.field`` as the arguments of ``made``."""
    section, member = name.split(".")
    return {section: {member: value}}


def test_all_faults_are_reported_together() -> None:
    with pytest.raises(ConfigError) as caught:
        made(
            data={"batch": -1, "crop": 100, "style_size": 1, "hold_out": -3},
            generator={"freeze_at": 1.5, "ema": 1.0},
            discriminator={"loss": "least squares", "learning_rate": 0.0},
            losses={"style": -1.0, "adversarial": 1.0},
            motion={"source": "clips"},
            schedule={"steps": 0, "learning_rate": 2.0, "minutes": 0.0},
            run={"checkpoint_minutes": 0.0},
        )
    names = (
        "data.batch", "data.crop", "data.style_size", "data.hold_out", "generator.freeze_at", "generator.ema",
        "discriminator.loss", "discriminator.learning_rate", "losses.style", "losses.adversarial", "motion.source",
        "schedule.steps", "schedule.learning_rate", "schedule.minutes", "run.checkpoint_minutes",
    )  # fmt: skip
    faults = caught.value.problem.split("; ")
    assert sorted(fault.split()[0] for fault in faults) == sorted(names)
    assert caught.value.hint


@pytest.mark.parametrize("name", NUMBERS)
@pytest.mark.parametrize("value", [float("nan"), float("inf")])
def test_what_is_no_finite_number_is_refused(name: str, value: float) -> None:
    with pytest.raises(ConfigError, match=name):
        made(**at(name, value))


def limited(limit: str) -> dict[str, float]:
    """The settings with a limit of this kind that may have any value within it."""
    contested = ("losses.adversarial", "losses.feature_matching")  # above 0 they need works
    return {name: limits[limit] for name, limits in LIMITS.items() if limit in limits and name not in contested}


def test_the_smallest_values_hold_and_no_smaller_ones() -> None:
    for name, least in limited("ge").items():
        made(**at(name, KINDS[name](least)))
        with pytest.raises(ConfigError, match=rf"{name} must be (at least|a multiple)"):
            made(**at(name, KINDS[name](least - 1)))
    for name, below in limited("gt").items():
        with pytest.raises(ConfigError, match=f"{name} must be above 0, got 0"):
            made(**at(name, below))


def test_the_largest_values_hold_and_no_larger_ones() -> None:
    for name, most in limited("le").items():
        made(**at(name, int(most) if KINDS[name] is int else most))
        with pytest.raises(ConfigError, match=rf"{name} must be (at most|a multiple)"):
            made(**at(name, most + 1 if KINDS[name] is not int else int(most) + 1))
    for name, above in limited("lt").items():
        with pytest.raises(ConfigError, match=f"{name} must be below 1, got 1"):
            made(**at(name, above))


@pytest.mark.parametrize("change", [{}, {"scales": 5}, {"scales": 6}, {"layers": 5, "scales": 3}, {"scales": 10**9}])
@pytest.mark.parametrize("crop", [64, 192, 256])
def test_a_discriminator_fits_the_crop_or_is_refused_at_once(crop: int, change: dict[str, int]) -> None:
    """The same that the network itself would say, but before the warm-up."""
    sizes = {"scales": 2, "layers": 3} | change
    deep = sizes["scales"] > 9 or Discriminator(**sizes, width=1).smallest > crop
    sections: dict[str, dict[str, Any]] = {
        "discriminator": change,
        "data": {"crop": crop, "style_pictures": Path("works")},
    }
    made(**sections)  # without a game nothing is judged
    if deep:
        with pytest.raises(ConfigError, match=r"discriminator\.scales and discriminator\.layers"):
            made(**sections, losses={"adversarial": 1.0})
    else:
        made(**sections, losses={"adversarial": 1.0})


@pytest.mark.parametrize("name", NUMBERS)
def test_every_number_has_a_bound(name: str) -> None:
    """A new field cannot be forgotten here."""
    assert {"ge", "gt"} & LIMITS[name].keys()


def test_an_error_shows_what_was_given() -> None:
    wrong: dict[str, dict[str, Any]] = {
        "data": {"content": "", "clips": 3, "batch": 2.5},
        "schedule": {"minutes": "few"},
    }
    with pytest.raises(SettingsError) as caught:
        made(**wrong, discriminator={"loss": "least squares", "augment": 1}, run={"name": 7})
    assert [error.problem for error in caught.value.errors] == [
        "data.content must be a path, got ''",
        "data.clips must be a path, got 3",
        "data.batch must be a whole number, got 2.5",
        "discriminator.loss must be 'lsgan', 'bce', 'hinge' or 'wgan-gp', got 'least squares'",
        "discriminator.augment must be true or false, got 1",
        "schedule.minutes must be a number, got 'few'",
        "run.name must be text, got 7",
    ]


def test_no_error_is_in_the_words_of_pydantic() -> None:
    wrong: list[object] = [None, "text", b"x", 1.5, -1, True, [], {}, 10**400]
    for name in KINDS:
        for value in wrong:
            with contextlib.suppress(SettingsError):
                made(**at(name, value))
    with pytest.raises(SettingsError, match=r"data\.colour is not a setting"):
        made(data={"colour": 1})


def test_one_of_two_sources_of_style_is_enough() -> None:
    works = Path("deep/monet")
    assert made(data={"style_picture": None, "style_pictures": works}).name == "monet"
    with pytest.raises(ConfigError, match="data.style_picture or data.style_pictures"):
        made(data={"style_picture": None})


@pytest.mark.parametrize("term", ["adversarial", "feature_matching"])
def test_a_discriminator_needs_works_to_learn_from(term: str) -> None:
    weights = {"adversarial": 1.0, term: 1.0}
    made(losses=weights, data={"style_pictures": Path("works")})
    with pytest.raises(ConfigError, match=rf"losses\.{term}.*data\.style_pictures"):
        made(losses=weights)


def test_features_are_matched_only_where_there_is_a_discriminator() -> None:
    with pytest.raises(ConfigError, match="losses.adversarial above 0"):
        made(losses={"feature_matching": 1.0}, data={"style_pictures": Path("works")})


@pytest.mark.parametrize("source", ["clips", "both"])
def test_real_motion_needs_clips(source: str) -> None:
    made(motion={"source": source}, data={"clips": Path("clips")})
    with pytest.raises(ConfigError, match="data.clips"):
        made(motion={"source": source})


def test_the_default_shape_is_the_generator_s_own() -> None:
    assert GeneratorConfig().arch == Arch()


def test_a_style_is_named_after_its_painting() -> None:
    assert made().name == "painting"
    assert made(run={"name": "wave"}).name == "wave"


def test_every_setting_says_what_it_means() -> None:
    for kind in SECTIONS.values():
        assert all(info.description for info in kind.__pydantic_fields__.values())


def test_the_record_is_plain_and_names_no_folder() -> None:
    text = json.dumps(made().to_dict())
    assert "painting.jpg" in text
    assert "deep" not in text
    assert json.loads(text)["losses"] == asdict(LossWeights())


class TestDifferences:
    """What makes a run another one."""

    def test_none_to_itself_and_through_json(self) -> None:
        config = made(generator={"ema": 0.999})
        assert blocking_changes(config, json.loads(json.dumps(config.to_dict()))) == []

    def test_another_painting_is_another_run_and_both_are_named(self) -> None:
        (fault,) = blocking_changes(made(), made(data={"style_picture": Path("wave.jpg")}).to_dict())
        assert "wave.jpg" in fault and "painting.jpg" in fault and fault.startswith("data.style_picture ")

    def test_a_run_may_go_on_longer_elsewhere_and_with_other_weights(self) -> None:
        then = made(
            data={"content": Path("moved/photos_2")}, losses={"style": 20.0}, schedule={"steps": 9}, run={"threads": 1}
        )
        assert blocking_changes(made(), then.to_dict()) == []

    def test_what_goes_on_otherwise_is_noted_with_the_step(self) -> None:
        then = made(
            data={"content": Path("moved/photos_2")}, losses={"style": 20.0}, schedule={"steps": 9}, run={"threads": 1}
        )
        assert diff(made(), then.to_dict(), 7) == [
            {"setting": "losses.style", "was": 20.0, "now": 5.0, "from_step": 7},
            {"setting": "schedule.steps", "was": 9, "now": 3600, "from_step": 7},
        ]
        assert diff(made(), made().to_dict(), 7) == diff(made(), {}, 7) == []

    def test_older_settings_that_lack_some_are_taken(self) -> None:
        assert blocking_changes(made(), {}) == []
        assert blocking_changes(made(), {"data": {"batch": 4}}) == []

    def test_what_matters_exists(self) -> None:
        for name in (*FIXED, *IGNORED):
            assert name in KINDS
