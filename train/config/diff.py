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
    """Describe each setting in ``FIXED`` that differs, which prevents a run from being resumed.

    Args:
        config: current settings.
        settings: ``to_dict`` of the earlier settings; missing ones count as equal.
    """
    found = _differing(config, settings)
    return [f"{name} was {was} and is now {now}" for name, was, now in found if name in FIXED]


def diff(config: TrainConfig, settings: Mapping[str, Any], step: int) -> list[dict[str, Any]]:
    """List the settings that a resumed run changes, for its record.

    Args:
        config: current settings.
        settings: ``to_dict`` of the earlier settings; missing ones count as equal.
        step: first step with the current settings.

    Returns:
        for each changed setting: ``setting``, ``was``, ``now`` and ``from_step``.
    """
    return [
        {"setting": name, "was": was, "now": now, "from_step": step}
        for name, was, now in _differing(config, settings)
        if name not in IGNORED and not name.startswith("run.")
    ]


def _differing(config: TrainConfig, settings: Mapping[str, Any]) -> Iterator[tuple[str, Any, Any]]:
    for section, members in config.to_dict().items():
        before = settings.get(section, {})
        for member, now in members.items():
            if member in before and before[member] != now:
                yield f"{section}.{member}", before[member], now
