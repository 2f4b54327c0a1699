"""What is wrong with settings, gathered so that all of it is told at once, each fault with its own hint."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import contextmanager

from engines.errors import ConfigError, SettingsError


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
