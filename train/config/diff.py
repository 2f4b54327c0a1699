"""Which settings may change when a run is resumed, and which make it another run."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from typing import Any

from train.config.schema import TrainConfig

FIXED = (
    "data.style_picture", "data.style_pictures", "data.batch", "data.crop", "data.style_size", "data.hold_out",
    "generator.stem", "generator.body", "generator.blocks", "generator.head", "generator.norm", "generator.init",
    "discriminator.scales", "discriminator.width", "discriminator.layers", "schedule.optimizer",
    "run.seed",
)  # fmt: skip
"""Settings that identify a run; the others may change when it is resumed."""

IGNORED = ("data.content", "data.features", "data.workers", "data.in_memory")
"""Settings that change no result: where files are and how they are read. So does the whole section ``run``.
Fingerprints show if the photographs themselves have changed."""


def blocking_changes(config: TrainConfig, settings: Mapping[str, Any]) -> list[str]:
    """Describe each setting in ``FIXED`` that differs from those of a run, which prevents it from being resumed."""
    found = _differing(config, settings)
    return [f"{name} was {was} and is now {now}" for name, was, now in found if name in FIXED]


def diff(config: TrainConfig, settings: Mapping[str, Any], step: int) -> list[dict[str, Any]]:
    """List the settings that a run changes when it is resumed at a step, for its record: name, before and now."""
    return [
        {"setting": name, "was": was, "now": now, "from_step": step}
        for name, was, now in _differing(config, settings)
        if name not in IGNORED and not name.startswith("run.")
    ]


def _differing(config: TrainConfig, settings: Mapping[str, Any]) -> Iterator[tuple[str, Any, Any]]:
    """Compare with ``to_dict`` of earlier settings; those that it lacks count as equal."""
    for section, members in config.to_dict().items():
        before = settings.get(section, {})
        for member, now in members.items():
            if member in before and before[member] != now:
                yield f"{section}.{member}", before[member], now
