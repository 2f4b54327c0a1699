"""The base class of engines that wrap another engine."""

from __future__ import annotations

from typing import cast

from engines.base import (
    RGB,
    Engine,
    EngineInfo,
    ForkableEngine,
    PendingFrame,
    PipelinedEngine,
    RestylableEngine,
    SharedGraphEngine,
    StrengthMap,
)


class EngineWrapper:
    """Passes everything on to another engine, including ``submit``, ``prepare`` and ``fork`` if that engine has them.

    The three are attributes of the instance, so that ``isinstance`` with ``PipelinedEngine``, ``SharedGraphEngine`` or
    ``ForkableEngine`` is true exactly if it is true for the inner engine. Subclasses override ``_submit``, ``_prepare``
    and ``_fork`` to change them.
    """

    def __init__(self, inner: Engine) -> None:
        self._inner = inner
        if isinstance(inner, PipelinedEngine):
            self.submit = self._submit
        if isinstance(inner, SharedGraphEngine):
            self.prepare = self._prepare
        if isinstance(inner, ForkableEngine):
            self.fork = self._fork

    @property
    def info(self) -> EngineInfo:
        """Description of the engine that does the work."""
        return self._inner.info

    def __call__(self, rgb: RGB, strength: float | StrengthMap = 1.0, colours: float = 0.0) -> RGB:
        """Stylize one frame; see ``engines.base.Engine``."""
        return self._inner(rgb, strength, colours)

    def close(self) -> None:
        """Close the inner engine. May be called twice."""
        self._inner.close()

    def _submit(self, rgb: RGB, strength: float | StrengthMap = 1.0, colours: float = 0.0) -> PendingFrame:
        return cast("PipelinedEngine", self._inner).submit(rgb, strength, colours)

    def _fork(self) -> RestylableEngine:
        return cast("ForkableEngine", self._inner).fork()

    def _prepare(self, height: int, width: int) -> None:
        cast("SharedGraphEngine", self._inner).prepare(height, width)


class ReadyFrame:
    """A frame that is stylized already; see ``PendingFrame``."""

    def __init__(self, stylized: RGB) -> None:
        self._stylized = stylized

    def result(self) -> RGB:
        """Return the stylized frame."""
        return self._stylized


def submit_to(engine: Engine, rgb: RGB, strength: float | StrengthMap, colours: float) -> PendingFrame:
    """Start on one frame, or stylize it at once if the engine works on one frame at a time."""
    if isinstance(engine, PipelinedEngine):
        return engine.submit(rgb, strength, colours)
    return ReadyFrame(engine(rgb, strength, colours))
