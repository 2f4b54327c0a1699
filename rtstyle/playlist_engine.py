"""An engine whose style follows a playlist by the time of the clip, so that each run gives the same frames."""

from __future__ import annotations

from collections.abc import Callable
from typing import cast

from engines.base import Engine, RestylableEngine
from engines.errors import EngineError
from engines.wrapper import EngineWrapper
from rtstyle.playlist import Playlist
from rtstyle.style_library import open_style
from rtstyle.style_mix import Mix
from rtstyle.style_path import StylePath


class PlaylistEngine(EngineWrapper):
    """Stylizes each frame in the style whose turn it is at the time that ``seek`` was last given.

    Args:
        load: starts an engine in a style, given by name; it must be one whose style can change between two frames.

    Raises:
        EngineError: the engine's style cannot change.
        StyleError: a style of the list cannot be used, or two that follow each other do not mix.
    """

    def __init__(self, load: Callable[[str], Engine], playlist: Playlist) -> None:
        engine = load(playlist.of_turn(0))
        if not isinstance(engine, RestylableEngine):
            engine.close()
            raise EngineError(
                f"the engine {engine.info.name} cannot follow a playlist", hint="--engine cpu or cuda can"
            )
        super().__init__(engine)
        self._playlist = playlist
        self._shown = playlist.of_turn(0)
        self._path: StylePath | None = None

    def seek(self, seconds: float) -> None:
        """Take the style of a time of the clip, seconds since its beginning."""
        turn = self._playlist.at(seconds)
        engine = cast("RestylableEngine", self._inner)
        if turn.way < 1.0:
            path = self._path_between(turn.before, turn.style)
            engine.take_style(path.style(path.weights(turn.way)))
            self._shown = ""
        elif turn.style != self._shown:
            engine.take_style(open_style(turn.style))
            self._shown = turn.style

    def _path_between(self, before: str, style: str) -> StylePath:
        start, end = Mix.parse(before), Mix.parse(style)
        if self._path is None or (self._path.start, self._path.end) != (start, end):
            self._path = StylePath(start, end)
        return self._path
