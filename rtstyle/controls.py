"""Settings that may change while frames run."""

from __future__ import annotations

from collections.abc import Sequence
from threading import Event

from engines.base import check_colours, check_share, check_strength
from engines.errors import StyleError
from rtstyle.masks.settings import NO_MASK, MaskSettings, check_only
from rtstyle.stroke_scale import check_scale


class Controls:
    """Live settings of a pipeline; any thread may read and change them.

    Args:
        strength: 0 shows the input, 1 the full style.
        mirror: flip left and right, as people expect of a picture of themselves.
        scale: size of the strokes; 1 is the style's own.
        styles: names to choose from, which never change; empty if there is no choice.
        style: the first style to show; ``None`` takes the first of ``styles``.
        colours: 0 takes all colours from the style, 1 keeps those of the input.
        only: the part of the frame to stylize, one of ``masks.settings.ONLY``.
        masks: a mask from a file, and what masks do.
        faces: how much of the style is taken from faces, 0 … 1.

    Attributes:
        masks: as given.
        paused: True while viewers see a still picture; frames are still stylized meanwhile.
    """

    def __init__(
        self,
        strength: float = 1.0,
        mirror: bool = False,
        scale: float = 1.0,
        styles: Sequence[str] = (),
        style: str | None = None,
        colours: float = 0.0,
        only: str = "all",
        masks: MaskSettings = NO_MASK,
        faces: float = 0.0,
    ) -> None:
        # One attribute is replaced at a time, which Python does atomically, so nothing here needs a lock.
        self.strength, self.scale, self.colours = strength, scale, colours
        self.mirror, self.paused = mirror, False
        self.only, self.masks, self.faces = only, masks, faces
        self.styles = tuple(styles)
        self._style = self.styles[0] if styles else ""
        self._stop = Event()
        if style is not None:
            self.style = style

    @property
    def strength(self) -> float:
        """Blend of input and style, 0…1. Setting it raises ShapeError if out of range."""
        return self._strength

    @strength.setter
    def strength(self, value: float) -> None:
        check_strength(value)
        self._strength = value

    @property
    def scale(self) -> float:
        """Size of the strokes; 1 is the style's own. Setting it raises ShapeError if out of range."""
        return self._scale

    @scale.setter
    def scale(self, value: float) -> None:
        check_scale(value)
        self._scale = value

    @property
    def colours(self) -> float:
        """Share of the input's own colours, 0…1. Setting it raises ShapeError if out of range."""
        return self._colours

    @colours.setter
    def colours(self, value: float) -> None:
        check_colours(value)
        self._colours = value

    @property
    def only(self) -> str:
        """The part of the frame to stylize. Setting it raises ConfigError if it is not in ``masks.settings.ONLY``."""
        return self._only

    @only.setter
    def only(self, part: str) -> None:
        check_only(part)
        self._only = part

    @property
    def faces(self) -> float:
        """Share of the style that is taken from faces, 0…1. Setting it raises ShapeError if out of range."""
        return self._faces

    @faces.setter
    def faces(self, value: float) -> None:
        check_share("faces", value)
        self._faces = value

    @property
    def style(self) -> str:
        """Name of the requested style. Setting it raises StyleError if it is not among ``styles``."""
        return self._style

    @style.setter
    def style(self, name: str) -> None:
        if name not in self.styles:
            raise StyleError(f"no style {name!r} here", hint=f"there are: {', '.join(self.styles)}")
        self._style = name

    @property
    def stop_requested(self) -> bool:
        """True once ``request_stop`` was called."""
        return self._stop.is_set()

    def request_stop(self) -> None:
        """Ask the pipeline to end after the current frame. Safe in a signal handler."""
        self._stop.set()
