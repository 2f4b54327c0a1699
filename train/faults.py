"""What is wrong with settings, gathered so that all of it is told at once, each fault with its own hint."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager

from engines.errors import ConfigError


class SettingsError(ConfigError):
    """Settings are wrong.

    Args:
        faults: each one alone, in the order in which they are told.
        hint: for all of them; by default theirs.
    """

    def __init__(self, faults: Sequence[ConfigError], hint: str = "") -> None:
        hints = dict.fromkeys(fault.hint for fault in faults if fault.hint)
        super().__init__("; ".join(fault.problem for fault in faults), hint or "; ".join(hints))
        self.faults = tuple(faults)


class Faults:
    """Gathers faults while settings are read."""

    def __init__(self) -> None:
        self.found: list[ConfigError] = []

    @contextmanager
    def gathered(self, told: Callable[[str], str] = str) -> Iterator[None]:
        """Take a ConfigError, with all of its faults, instead of letting it pass.

        Args:
            told: how a problem is worded here; by default as it is.
        """
        try:
            yield
        except ConfigError as error:
            faults = error.faults if isinstance(error, SettingsError) else (error,)
            self.found += [ConfigError(told(fault.problem), fault.hint) for fault in faults]

    def tell(self) -> None:
        """Raises: SettingsError: with every fault, where there is one."""
        if self.found:
            raise SettingsError(self.found)
