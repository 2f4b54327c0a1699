"""Where the style shows: settings and their limits."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

from engines.errors import ConfigError

ONLY = ("all", "person", "background", "faces")
"""Parts of a frame that can be stylized alone; ``all`` is no restriction."""

MAX_FEATHER = 256.0
"""Widest soft border, pixels."""


@dataclass(frozen=True)
class MaskSettings:
    """What a mask is, and what it does. It restricts the style together with the part that ``only`` names.

    Attributes:
        file: a picture, a clip, or pictures as in ``masks/%06d.png``, white where the style shows; ``None`` for none.
        inside, outside: strengths where the mask is white and black, 0 … 1. The live strength multiplies both.
        feather: half the width of the soft border, pixels of the frame.
    """

    file: Path | None = None
    inside: float = 1.0
    outside: float = 0.0
    feather: float = 0.0

    def errors(self) -> list[ConfigError]:
        """Return what is out of range."""
        errors = [
            ConfigError(f"{name} {value:g} is out of range", hint="give a value from 0 to 1")
            for name, value in (("inside", self.inside), ("outside", self.outside))
            if not 0.0 <= value <= 1.0
        ]
        if not 0.0 <= self.feather <= MAX_FEATHER:
            hint = f"give 0 to {MAX_FEATHER:g} pixels"
            errors.append(ConfigError(f"feather {self.feather:g} is out of range", hint=hint))
        return errors

    def check(self) -> None:
        """Check the settings of a live run, before its source is opened.

        Raises:
            ConfigError: a setting is out of range.
            SourceError: the mask cannot be read.
        """
        for error in self.errors():
            raise error
        if self.file is not None:
            from rtstyle.masks.mask_file import check_mask

            check_mask(self.file)


NO_MASK = MaskSettings()


def mask_errors(only: str, masks: MaskSettings) -> list[ConfigError]:
    """Return what is wrong with the settings of a job; in contrast to a live run, it cannot choose ``only`` later."""
    errors = masks.errors()
    try:
        check_only(only)
    except ConfigError as error:
        return [error, *errors]
    if only == "all" and masks.file is None and masks != NO_MASK:
        hint = "choose a part with --only, or give a --mask (in Python: only, mask)"
        errors.append(ConfigError("inside, outside and feather need a mask", hint=hint))
    return errors


def check_masks(*, inside: float = 1.0, outside: float = 0.0, feather: float = 0.0) -> None:
    """Raise ConfigError unless what masks do is within its limits, see ``MaskSettings``."""
    for error in MaskSettings(None, inside, outside, feather).errors():
        raise error


def check_only(only: str) -> None:
    """Raise ConfigError unless a part of the frame is one of ``ONLY``."""
    if only not in ONLY:
        raise ConfigError(f"cannot stylize only {only[:40]!r}", hint=f"choose from {', '.join(ONLY)}")
