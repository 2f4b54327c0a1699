"""Settings that may change while frames run."""

from __future__ import annotations

from collections.abc import Sequence
from threading import Event

from engines.base import check_colours, check_share, check_strength
from engines.errors import StyleError
from rtstyle.masks.settings import NO_MASK, MaskSettings, check_masks, check_only
from rtstyle.playlist import EVERY_S, check_every, check_glide, check_playlist
from rtstyle.stroke_scale import check_scale
from rtstyle.style_mix import Mix, split_texture


class Controls:
    """Live settings of a pipeline; any thread may read and change them.

    Args:
        strength: 0 shows the input, 1 the full style.
        mirror: flip left and right, as people expect of a picture of themselves.
        scale: size of the strokes; 1 is the style's own.
        styles: names to choose from, which only ``offer`` changes; empty if there is no choice.
        style: the first style to show, or mix of ``styles``; ``None`` takes the first of ``styles``.
        colours: 0 takes all colours from the style, 1 keeps those of the input.
        only: the part of the frame to stylize, one of ``masks.settings.ONLY``.
        masks: a mask from a file, and what masks do at first.
        faces: how much of the style is taken from faces, 0 … 1.
        glide: how long a change of style takes, seconds; 0 cross-fades.
        playlist: styles or mixes that take turns; none for no change.
        every: time from one style of the playlist to the next, seconds.
        hold_fps: keep the frame rate of a live source, by working at a smaller size while the engine is too slow.

    Attributes:
        pair: the two styles of the slider that mixes them; ``None`` before it is used.
        mix_moves: True while that slider moves by itself.
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
        glide: float = 0.0,
        playlist: Sequence[str] = (),
        every: float = EVERY_S,
        hold_fps: bool = True,
    ) -> None:
        # One attribute is replaced at a time, which Python does atomically, so nothing here needs a lock.
        self.strength, self.scale, self.colours = strength, scale, colours
        self.mirror, self.paused = mirror, False
        self.only, self.faces = only, faces
        self._mask, self._inside, self._outside, self._feather = masks.file, masks.inside, masks.outside, masks.feather
        self.hold_fps = hold_fps
        self.styles = tuple(styles)
        self.pair: tuple[str, str] | None = None
        self.mix_moves = False
        self._style = self.styles[0] if styles else ""
        self._stop = Event()
        if style is not None:
            self.style = style
        self.glide, self.playlist, self.every = glide, tuple(playlist), every

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
    def masks(self) -> MaskSettings:
        """The mask from a file, and what masks do now."""
        return MaskSettings(self._mask, self._inside, self._outside, self._feather)

    @property
    def inside(self) -> float:
        """Strength where masks let the style show, 0…1. Setting it raises ConfigError if out of range."""
        return self._inside

    @inside.setter
    def inside(self, value: float) -> None:
        check_masks(inside=value)
        self._inside = value

    @property
    def outside(self) -> float:
        """Strength elsewhere, 0…1. Setting it raises ConfigError if out of range."""
        return self._outside

    @outside.setter
    def outside(self, value: float) -> None:
        check_masks(outside=value)
        self._outside = value

    @property
    def feather(self) -> float:
        """Half the width of the border of masks, pixels. Setting it raises ConfigError if out of range."""
        return self._feather

    @feather.setter
    def feather(self, pixels: float) -> None:
        check_masks(feather=pixels)
        self._feather = pixels

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
        """The requested style or mix. Setting it raises StyleError if it is not among ``styles``, or made of them."""
        return self._style

    @style.setter
    def style(self, name: str) -> None:
        self._style = self._found(name)

    @property
    def place(self) -> int:
        """Index of the requested style in ``styles``; for a mix, that of its largest part."""
        main, styles = self.mix.main, self.styles
        return styles.index(main) if main in styles else 0  # ``offer`` may be changing them

    @property
    def mix(self) -> Mix:
        """The requested style as a mix."""
        return self.read(self._style)

    @property
    def glide(self) -> float:
        """How long a change of style takes, seconds; 0 cross-fades. Setting it raises ConfigError if out of range."""
        return self._glide

    @glide.setter
    def glide(self, seconds: float) -> None:
        check_glide(seconds)
        self._glide = seconds

    @property
    def playlist(self) -> tuple[str, ...]:
        """Styles that take turns. Setting it raises StylerError for one style, or one that is not among ``styles``."""
        return self._playlist

    @playlist.setter
    def playlist(self, styles: Sequence[str]) -> None:
        found = tuple(self._found(name) for name in styles)
        if found:
            check_playlist(found)
        self._playlist = found

    @property
    def every(self) -> float:
        """Time from one style of the playlist to the next, seconds. Setting it raises ConfigError if it is none."""
        return self._every

    @every.setter
    def every(self, seconds: float) -> None:
        check_every(seconds)
        self._every = seconds

    def _found(self, name: str) -> str:
        mix = self.read(name)
        for one in mix.styles:
            if one not in self.styles:
                raise StyleError(f"no style {one!r} here", hint=f"there are: {', '.join(self.styles)}")
        return str(mix)

    def read(self, name: str) -> Mix:
        """Return a style or a mix, given as text. Raises StyleError if it is not well formed."""
        return Mix(((name, 1.0),)) if name in self.styles else Mix.parse(name)

    def offer(self, styles: Sequence[str], instead: str) -> None:
        """Replace the names to choose from.

        ``instead``, one of them or a mix, is shown if they lack the present style; a playlist goes on with those left.
        """
        self.styles = tuple(dict.fromkeys((*self.styles, *styles)))  # first, so that whoever looks finds both styles
        if not set(self.mix.styles) <= set(styles):
            self.style = instead
        if self.pair is not None and not {split_texture(name)[0] for name in self.pair} <= set(styles):
            self.pair, self.mix_moves = None, False
        left = tuple(one for one in self._playlist if set(self.read(one).styles) <= set(styles))
        self._playlist = left if len(left) > 1 else ()
        self.styles = tuple(styles)

    @property
    def stop_requested(self) -> bool:
        """True once ``request_stop`` was called."""
        return self._stop.is_set()

    def request_stop(self) -> None:
        """Ask the pipeline to end after the current frame. Safe in a signal handler."""
        self._stop.set()
