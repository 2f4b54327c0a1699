"""The error tree. Everything that rtstyle raises on purpose is a StylerError."""

from __future__ import annotations

from collections.abc import Sequence


class StylerError(Exception):
    """Base class of all errors that rtstyle raises on purpose.

    The command line prints it as one line with its hint and exits with status 1; library users catch it.

    Args:
        problem: one sentence about what is wrong, without a full stop.
        hint: what the user can do about it; empty if there is nothing to do.
    """

    def __init__(self, problem: str, hint: str = "") -> None:
        super().__init__(problem)
        self.problem = problem
        self.hint = hint

    def __str__(self) -> str:
        return f"{self.problem} ({self.hint})" if self.hint else self.problem


class ShapeError(StylerError):
    """A frame has the wrong shape, dtype or size, or a strength is outside 0…1."""


class StyleError(StylerError):
    """A style is unknown, damaged, altered, or newer than this version of rtstyle."""


class EngineError(StylerError):
    """An engine is unknown, cannot run on this machine, or failed while running."""


class SourceError(StylerError):
    """A camera, file or stream cannot be opened or read."""


class SinkError(StylerError):
    """A window, file or stream cannot be opened or written."""


class ConfigError(StylerError):
    """A setting is wrong."""


class SettingsError(ConfigError):
    """One or more settings of a command line, configuration file or recipe are wrong; all are reported together.

    There is one error for each wrong setting, in the order in which they are reported. A hint replaces all of theirs.
    """

    def __init__(self, errors: Sequence[ConfigError], hint: str = "") -> None:
        hints = dict.fromkeys(error.hint for error in errors if error.hint)
        super().__init__("; ".join(error.problem for error in errors), hint or "; ".join(hints))
        self.errors = tuple(errors)


class TrainError(StylerError):
    """Training cannot start or cannot continue."""
