"""The error tree. Everything that rtstyle raises on purpose is a StylerError."""

from __future__ import annotations

from collections.abc import Sequence


class StylerError(Exception):
    """What went wrong, and what to do about it.

    Only the command line prints it, as one line with its hint; a library user catches it.

    Args:
        problem: one sentence about what is wrong, without a full stop.
        hint: what the reader can do now; empty when there is nothing to do.
    """

    def __init__(self, problem: str, hint: str = "") -> None:
        super().__init__(problem)
        self.problem = problem
        self.hint = hint

    def __str__(self) -> str:
        return f"{self.problem} ({self.hint})" if self.hint else self.problem


class ShapeError(StylerError):
    """An array has a shape or a dtype that its receiver does not take."""


class StyleError(StylerError):
    """A style is unknown, damaged, altered, or newer than this version."""


class EngineError(StylerError):
    """An engine is unknown, cannot run here, or failed while running."""


class SourceError(StylerError):
    """A camera, file or stream cannot be opened or read."""


class SinkError(StylerError):
    """A window, file or stream cannot be opened or written."""


class ConfigError(StylerError):
    """Settings are wrong; every fault is named, not only the first."""


class SettingsError(ConfigError):
    """Settings that were given on a command line or in a recipe are wrong.

    Args:
        faults: each one alone, in the order in which they are told.
        hint: for all of them; by default theirs.
    """

    def __init__(self, faults: Sequence[ConfigError], hint: str = "") -> None:
        hints = dict.fromkeys(fault.hint for fault in faults if fault.hint)
        super().__init__("; ".join(fault.problem for fault in faults), hint or "; ".join(hints))
        self.faults = tuple(faults)


class TrainError(StylerError):
    """Training cannot start or cannot go on."""
