"""What may be changed when a run is resumed, and what makes it another run."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from typing import Any

from train.config.schema import TrainConfig

MATTERS = (
    "data.style_picture", "data.style_pictures", "data.batch", "data.crop", "data.style_size", "data.hold_out",
    "generator.stem", "generator.body", "generator.blocks", "generator.head", "generator.norm", "generator.init",
    "discriminator.scales", "discriminator.width", "discriminator.layers", "schedule.optimizer",
    "run.seed",
)  # fmt: skip
"""Settings that make a run this one and no other; the rest may be changed when it is resumed."""

HARMLESS = ("data.content", "data.features", "data.workers", "data.in_memory")
"""Where things lie and how they are read, which changes no result; so does the whole section ``run``. Whether the
photographs are others, their fingerprint tells."""


def differences(config: TrainConfig, settings: Mapping[str, Any]) -> list[str]:
    """What keeps a run from being resumed with other settings.

    Args:
        config: of now.
        settings: ``to_dict`` of then; what it lacks is taken for equal.

    Returns:
        for each setting of ``MATTERS`` that differs, its name and both values.
    """
    found = _differing(config, settings)
    return [f"{name} was {was} and now is {now}" for name, was, now in found if name in MATTERS]


def changes(config: TrainConfig, settings: Mapping[str, Any], step: int) -> list[dict[str, Any]]:
    """What a resumed run does otherwise from here on, for its record.

    Args:
        config: of now.
        settings: ``to_dict`` of then; what it lacks is taken for equal.
        step: from which on.

    Returns:
        for each setting that has changed: ``setting``, ``was``, ``now`` and ``from_step``.
    """
    return [
        {"setting": name, "was": was, "now": now, "from_step": step}
        for name, was, now in _differing(config, settings)
        if name not in HARMLESS and not name.startswith("run.")
    ]


def _differing(config: TrainConfig, settings: Mapping[str, Any]) -> Iterator[tuple[str, Any, Any]]:
    """Name, value then and value now of each setting that is another."""
    for section, members in config.to_dict().items():
        before = settings.get(section, {})
        for member, now in members.items():
            if member in before and before[member] != now:
                yield f"{section}.{member}", before[member], now
