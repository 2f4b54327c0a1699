"""Continue with another engine if the first frame fails: a GPU may refuse only a certain frame size.

Once a frame has been stylized, errors are passed on: a picture must not change in the middle of a film.
"""

from __future__ import annotations

import logging
from collections.abc import Callable
from threading import RLock
from typing import TypeVar

from engines.base import (
    RGB,
    Engine,
    ForkableEngine,
    PendingFrame,
    RestylableEngine,
    SharedGraphEngine,
    StrengthMap,
)
from engines.errors import EngineError
from engines.style_file import StyleModel
from engines.wrapper import EngineWrapper, ReadyFrame, submit_to

logger = logging.getLogger(__name__)

T = TypeVar("T")


class FallbackEngine(EngineWrapper):
    """An engine that another one replaces if it fails before its first stylized frame.

    ``submit``, ``prepare``, ``fork`` and ``take_style`` exist if the first engine has them, and go on working with the
    other one.

    Args:
        first: the engine to begin with; it is closed if it fails.
        style: its style.
        start_next: starts the other engine in a style; called once for each style that it is given from then on.
    """

    def __init__(self, first: Engine, style: StyleModel, start_next: Callable[[StyleModel], Engine]) -> None:
        super().__init__(first)
        self._style, self._start_next = style, start_next
        self._settled = self._closed = False
        self._lock = RLock()
        if isinstance(first, RestylableEngine):
            self.take_style = self._take_style

    def __call__(self, rgb: RGB, strength: float | StrengthMap = 1.0, colours: float = 0.0) -> RGB:
        """Stylize one frame; see ``engines.base.Engine``."""
        if self._settled:
            return self._inner(rgb, strength, colours)
        stylized = self._attempt(lambda engine: engine(rgb, strength, colours))
        self._settled = True
        return stylized

    def close(self) -> None:
        """Close the engine that works. May be called twice."""
        with self._lock:
            self._closed = True
            super().close()

    def _submit(self, rgb: RGB, strength: float | StrengthMap = 1.0, colours: float = 0.0) -> PendingFrame:
        """Start on one frame; the first one is waited for, because a device may fail in ``result``."""
        if not self._settled:
            return ReadyFrame(self(rgb, strength, colours))
        return submit_to(self._inner, rgb, strength, colours)

    def _prepare(self, height: int, width: int) -> None:
        def prepare(engine: Engine) -> None:
            if isinstance(engine, SharedGraphEngine):
                engine.prepare(height, width)

        if self._settled:
            prepare(self._inner)
        else:
            self._attempt(prepare)

    def _take_style(self, style: StyleModel) -> None:
        with self._lock:
            self._style = style
            if isinstance(self._inner, RestylableEngine):
                self._inner.take_style(style)
            elif not self._closed:
                self._inner.close()
                self._inner = self._start_next(style)

    def _fork(self) -> RestylableEngine:
        if not isinstance(self._inner, ForkableEngine):
            raise EngineError(f"the engine {self.info.name} cannot change its style for each frame")
        return self._inner.fork()

    def _attempt(self, work: Callable[[Engine], T]) -> T:
        """Let the engine work, or if it fails the other one."""
        tried = self._inner
        try:
            return work(tried)
        except EngineError as error:
            if self._closed:
                raise
            self._replace(tried, error)
        return work(self._inner)

    def _replace(self, failed: Engine, error: EngineError) -> None:
        with self._lock:
            if self._settled or self._inner is not failed:  # another thread was first
                return
            failed.close()
            self._inner, self._settled = self._start_next(self._style), True
            logger.warning("%s failed, and %s continues: %s", failed.info.name, self._inner.info.name, error)
