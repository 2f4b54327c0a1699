"""A style that is trained while it is shown: its weights are read again whenever its files change."""

from __future__ import annotations

import logging
import time
from collections.abc import Callable
from functools import partial
from pathlib import Path

from engines.base import RGB, Engine, RestylableEngine, StrengthMap
from engines.errors import StylerError
from engines.style_file import MANIFEST, StyleModel
from engines.wrapper import EngineWrapper

logger = logging.getLogger(__name__)

CHECK_S = 1.0
"""Time between two looks at the files, seconds; taking new weights costs a frame some 20 ms."""

LOOKS = 2
"""Number of looks in a row at changed files that cannot be loaded, after which the user is told."""


class ReloadingEngine(EngineWrapper):
    """Follows the files of a style.

    Args:
        inner: an engine of that style.
        folder: of the style. While its files are being replaced, or if they are damaged, the old weights stay.
        open_style: reads the style again; by default, from ``folder``.
    """

    def __init__(
        self,
        inner: RestylableEngine,
        folder: Path,
        clock: Callable[[], float] = time.monotonic,
        *,
        open_style: Callable[[], StyleModel] | None = None,
    ) -> None:
        super().__init__(inner)
        self._restyled, self._record, self._clock = inner, folder / MANIFEST, clock
        self._open_style = open_style or partial(StyleModel.open, folder)
        self._known, self._checked_s = self._changed(), clock()
        self._failures = 0  # since the style was last loaded

    def __call__(self, rgb: RGB, strength: float | StrengthMap = 1.0, colours: float = 0.0) -> RGB:
        """Stylize one frame with the newest weights; see ``engines.base.Engine``."""
        now_s = self._clock()
        if now_s - self._checked_s >= CHECK_S:
            self._checked_s = now_s
            self._follow()
        return self._restyled(rgb, strength, colours)

    def _follow(self) -> None:
        found = self._changed()
        if found in (None, self._known):
            return
        try:
            self._restyled.take_style(self._open_style())
        except StylerError as error:
            self._failures += 1
            # Files that are being copied can be loaded a second later. The others are reported, but not at every look.
            level = logging.WARNING if self._failures == LOOKS else logging.DEBUG
            message = "the style in %s has changed but cannot be loaded; the old one stays: %s"
            logger.log(level, message, self._record.parent, error)
            return
        self._known, self._failures = found, 0

    def _changed(self) -> int | None:
        """Return when the style was written, or ``None`` while it is being replaced."""
        try:
            return self._record.stat().st_mtime_ns
        except OSError:
            return None


def reloading(engine: Engine, folder: Path, open_style: Callable[[], StyleModel] | None = None) -> Engine:
    """Return an engine that follows the files of its style, if it can change weights; see ``ReloadingEngine``."""
    return ReloadingEngine(engine, folder, open_style=open_style) if isinstance(engine, RestylableEngine) else engine
