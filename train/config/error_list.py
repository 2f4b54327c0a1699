"""A list of configuration errors, so that all of them are reported together, each with its own hint."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import contextmanager

from engines.errors import ConfigError, SettingsError


class ErrorList:
    """Collects errors while settings are read."""

    def __init__(self) -> None:
        self.errors: list[ConfigError] = []

    @contextmanager
    def collect(self, rephrase: Callable[[str], str] = str) -> Iterator[None]:
        """Catch a ConfigError, with all errors it holds.

        Args:
            rephrase: rewords the message; by default it stays as it is.
        """
        try:
            yield
        except ConfigError as error:
            errors = error.errors if isinstance(error, SettingsError) else (error,)
            self.errors += [ConfigError(rephrase(one.problem), one.hint) for one in errors]

    def raise_if_any(self) -> None:
        """Raises: SettingsError: with every collected error, if there are any."""
        if self.errors:
            raise SettingsError(self.errors)
