"""An engine whose style is a mix of two that may be another one for each frame of a clip."""

from __future__ import annotations

from collections.abc import Callable
from functools import partial
from typing import cast

from engines.base import Engine, RestylableEngine
from engines.errors import ConfigError, EngineError
from engines.wrapper import EngineWrapper
from rtstyle.style_library import parse
from rtstyle.style_mix import Mix
from rtstyle.style_path import StylePath


class MixEngine(EngineWrapper):
    """Stylizes each frame in the mix that ``take_share`` was last given.

    Args:
        load: starts an engine in a style, given by name; it must be one whose style can change between two frames.
        mix: of two styles, with which it begins.

    Raises:
        EngineError: the engine's style cannot change.
        StyleError: a style cannot be used, or the two do not mix.
    """

    def __init__(self, load: Callable[[str], Engine], mix: Mix) -> None:
        engine = load(str(mix))
        if not isinstance(engine, RestylableEngine):
            engine.close()
            raise EngineError(
                f"the engine {engine.info.name} cannot move a mix",
                hint="--engine cpu or cuda can (in Python: engine='cpu')",
            )
        super().__init__(engine)
        first, second = mix.names
        self._path = StylePath(Mix(((first, 1.0),)), Mix(((second, 1.0),)))
        self._share = mix.share(second)

    def take_share(self, share: float) -> None:
        """Stylize the next frames with this share of the second style, 0 … 1."""
        if share != self._share:
            self._share = share
            cast("RestylableEngine", self._inner).take_style(self._path.style(self._path.weights(share)))


def mix_loader(load: Callable[[str], Engine], style: str) -> Callable[[], Engine]:
    """Return what starts a ``MixEngine`` of a style.

    Raises:
        ConfigError: the style is not a mix of two.
        StyleError: it cannot be found.
    """
    mix = parse(style)
    if len(mix.parts) != 2:
        raise no_mix()
    return partial(MixEngine, load, mix)


def no_mix() -> ConfigError:
    """Return the error of a mix that should move, without two styles."""
    return ConfigError("mix moves between two styles", hint="name them as a mix, for example vangogh+wave")
