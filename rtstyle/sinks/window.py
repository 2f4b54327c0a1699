"""Window sink: shows frames in a resizable SDL window, with keys to play with."""

from __future__ import annotations

import math
import os
import sys
import time
from collections.abc import Callable, Iterable, Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING, Any

import cv2
import numpy as np

from engines.base import RGB
from engines.errors import SinkError
from rtstyle.frame import Frame
from rtstyle.live.recorder import Recorder
from rtstyle.live.snapshot import save_picture
from rtstyle.pipeline import Controls
from rtstyle.stroke_scale import SCALES

if TYPE_CHECKING:
    import pygame

KEYS = (
    ("1-9", "style"),
    ("A D", "style before, after"),
    ("0", "style off and on"),
    ("Z C", "less, more strength"),
    ("[ ]", "smaller, larger strokes"),
    ("S", "side by side with the input"),
    ("T", "mirror"),
    ("P", "pause"),
    ("Space", "save the picture"),
    ("R", "record, and end it"),
    ("I", "figures"),
    ("F", "full screen"),
    ("H", "this help"),
    ("Esc", "stop"),
)
"""What the H key shows; the keys are those of avatarify where it has them."""

NOTICE_S = 2.0
"""How long a notice stays, seconds."""

STRENGTH_STEP = 0.1
"""Change of strength for one press of Z or C."""

SCALE_PRESSES = 4
"""Presses of ] that double the scale."""

_NO_SCREEN = ("offscreen", "dummy", "evdev")
"""SDL drivers that show nothing; SDL falls back to them in silence where there is no display."""


class WindowSink:
    """A window that keeps the aspect of the picture, on black.

    Args:
        title: of the window.
        controls: what the keys change.
        figures: gives the lines that the I key shows.
        size: (width, height) of the frames to come, pixels; the window then opens at once, not with the first frame.
        figures_shown: show them from the start.
        recorder: what the R key switches; ``None`` where nothing can be recorded.

    Raises:
        SinkError: there is no display.
    """

    def __init__(
        self,
        title: str,
        controls: Controls,
        figures: Callable[[], list[str]] = list,
        *,
        size: tuple[int, int] | None = None,
        figures_shown: bool = False,
        recorder: Recorder | None = None,
    ) -> None:
        self._title = title
        self._controls = controls
        self._figures = figures
        self._figures_shown, self._help_shown = figures_shown, False
        self._beside = False
        self._recorder = recorder
        self._recording: Path | None = None
        self._frame: Frame | None = None
        self._notice, self._notice_until_s = "", 0.0
        self._pygame = start_display()
        self._window: pygame.Surface | None = None
        self._font: Any = None
        self._closed = False
        self._strength_on = controls.strength or 1.0
        if size is not None and min(size) > 0:
            with self._mapped_errors():
                self._open(*size)

    @property
    def name(self) -> str:
        """``window``."""
        return "window"

    @property
    def main_thread(self) -> bool:
        """Windows belong to the main thread."""
        return True

    def write(self, frame: Frame) -> bool:
        """Show one frame and obey the keys.

        Returns:
            False when the window was closed, or Esc or Q pressed.

        Raises:
            SinkError: the display went away.
        """
        if self._closed:
            return False
        with self._mapped_errors():
            window = self._window or self._open(frame.rgb.shape[1], frame.rgb.shape[0])
            self._frame = self._frame or frame  # what a key means: the picture that is seen, or the first one
            # Events come before drawing: they may change the size of the window.
            answers = [self._obey(event) for event in self._pygame.event.get()]
            if not self._controls.paused:
                self._frame = frame
            window = self._pygame.display.get_surface() or window
            self._draw(window, self._picture(self._frame))
            self._pygame.display.flip()
        return all(answers)

    def close(self, *, completed: bool) -> None:  # noqa: ARG002, a window has nothing to complete
        """Close the window. Twice is fine."""
        if not self._closed:
            self._closed = True
            self._pygame.display.quit()
            self._pygame.font.quit()

    @contextmanager
    def _mapped_errors(self) -> Iterator[None]:
        try:
            yield
        except self._pygame.error as error:
            raise SinkError(f"the window failed: {error}", hint="is the display still there?") from error

    def _open(self, width: int, height: int) -> pygame.Surface:
        """Open the window at the size of the frames, smaller where the screen is."""
        sizes = self._pygame.display.get_desktop_sizes()
        screen_width, screen_height = sizes[0] if sizes else (1920, 1080)
        # Title bar and task bar take a tenth of the screen.
        scale = min(1.0, 0.9 * screen_width / width, 0.9 * screen_height / height)
        size = (max(1, round(width * scale)), max(1, round(height * scale)))
        self._window = self._pygame.display.set_mode(size, self._pygame.RESIZABLE)
        self._pygame.display.set_caption(self._title)
        return self._window

    def _obey(self, event: Any) -> bool:
        """Do what an event asks for. Returns: False when it asks to stop."""
        if event.type == self._pygame.QUIT:
            return False
        if event.type != self._pygame.KEYDOWN:
            return True
        if event.key in (self._pygame.K_ESCAPE, self._pygame.K_q):
            return False
        # What is printed on the key: not every keyboard has digits and brackets where an American one has them.
        symbol = getattr(event, "unicode", "") or self._pygame.key.name(event.key)
        if symbol in ("[", "]"):
            self._change_scale(1 if symbol == "]" else -1)
        elif symbol == "0":
            self._flip_style()
        elif symbol.isdecimal() and int(symbol) <= len(self._controls.styles):
            self._controls.style = self._controls.styles[int(symbol) - 1]
            self._show_style()
        action = {
            self._pygame.K_a: lambda: self._turn_style(-1),
            self._pygame.K_d: lambda: self._turn_style(1),
            self._pygame.K_t: self._flip_mirror,
            self._pygame.K_z: lambda: self._change_strength(-STRENGTH_STEP),
            self._pygame.K_c: lambda: self._change_strength(STRENGTH_STEP),
            self._pygame.K_s: lambda: self._flip("_beside"),
            self._pygame.K_p: self._flip_pause,
            self._pygame.K_SPACE: self._save,
            self._pygame.K_r: self._record,
            self._pygame.K_h: lambda: self._flip("_help_shown"),
            self._pygame.K_i: lambda: self._flip("_figures_shown"),
            self._pygame.K_f: self._pygame.display.toggle_fullscreen,
        }.get(event.key)
        if action is not None:
            action()
        return True

    def _turn_style(self, by: int) -> None:
        names = self._controls.styles
        if names:
            self._controls.style = names[(names.index(self._controls.style) + by) % len(names)]
            self._show_style()

    def _flip_style(self) -> None:
        if self._controls.strength:
            self._strength_on, self._controls.strength = self._controls.strength, 0.0
        else:
            self._show_style()

    def _show_style(self) -> None:
        """Who chooses a style wants to see it, and its name: end what the 0 key began."""
        self._tell(self._controls.style)
        if not self._controls.strength:
            self._controls.strength = self._strength_on

    def _flip_mirror(self) -> None:
        self._controls.mirror = not self._controls.mirror

    def _flip_pause(self) -> None:
        self._controls.paused = not self._controls.paused

    def _flip(self, what: str) -> None:
        setattr(self, what, not getattr(self, what))

    def _save(self) -> None:
        """Write what is shown into the current folder, under a name that is free."""
        if self._frame is None:
            return
        try:
            self._tell(f"saved {save_picture(self._picture(self._frame))}")
        except SinkError as error:
            self._tell(str(error))

    def _record(self) -> None:
        """Begin a recording in the current folder, or end it. What is recorded is the painting."""
        if self._recorder is None:
            return
        if self._recorder.path is not None:
            path = self._recorder.stop()
            self._recording = None
            self._tell(f"recorded {path}")
            return
        try:
            self._recorder.start()
        except SinkError as error:
            self._tell(str(error))

    def _look_at_recording(self) -> bool:
        """Tell when a recording has begun or ended, whoever did it. Returns: True while there is one."""
        path = self._recorder.path if self._recorder else None
        if path != self._recording and self._recorder is not None:
            self._tell(f"recording {path}" if path else self._recorder.fault or f"recorded {self._recording}")
        self._recording = path
        return path is not None

    def _tell(self, text: str) -> None:
        self._notice, self._notice_until_s = text, time.monotonic() + NOTICE_S

    def _picture(self, frame: Frame) -> RGB:
        if not self._beside or frame.unpainted is None:
            return frame.rgb
        return np.hstack([frame.unpainted, frame.rgb])

    def _change_strength(self, step: float) -> None:
        self._controls.strength = round(min(1.0, max(0.0, self._controls.strength + step)), 2)

    def _change_scale(self, presses: int) -> None:
        # Onto a grid that holds 1: steps there and back must end at the style's own size, which costs nothing.
        steps = round(SCALE_PRESSES * math.log2(self._controls.scale) + presses)
        self._controls.scale = min(SCALES[1], max(SCALES[0], 2.0 ** (steps / SCALE_PRESSES)))

    def _draw(self, window: pygame.Surface, rgb: RGB) -> None:
        left, top, width, height = fit(rgb.shape[1], rgb.shape[0], *window.get_size())
        if (width, height) != (rgb.shape[1], rgb.shape[0]):
            rgb = np.asarray(cv2.resize(rgb, (width, height), interpolation=cv2.INTER_LINEAR), dtype=np.uint8)
        if (width, height) != window.get_size():
            window.fill((0, 0, 0))
        picture = self._pygame.image.frombuffer(np.ascontiguousarray(rgb), (width, height), "RGB")
        window.blit(picture, (left, top))
        if self._look_at_recording():
            radius = max(4, window.get_height() // 48)
            self._pygame.draw.circle(window, (220, 0, 0), (window.get_width() - 2 * radius, 2 * radius), radius)
        if self._figures_shown:
            self._draw_lines(window, [[line] for line in self._figures()])
        if self._frame is not None and self._frame.notice:
            self._draw_lines(window, [[self._frame.notice]], low=True)
        elif self._help_shown:
            self._draw_lines(window, KEYS, low=True)
        elif time.monotonic() < self._notice_until_s:
            self._draw_lines(window, [[self._notice]], low=True)

    def _draw_lines(self, window: pygame.Surface, rows: Iterable[Sequence[str]], *, low: bool = False) -> None:
        """Text on a dark panel at the top, or at the bottom; of two columns the first is narrow."""
        if self._font is None:
            self._pygame.font.init()
            self._font = self._pygame.font.Font(None, 22)
        lines = [[self._font.render(text, True, (255, 255, 255)) for text in row] for row in rows]
        indent = max((line[0].get_width() for line in lines if len(line) > 1), default=0) + 16
        wide = max((indent * (len(line) - 1) + line[-1].get_width() for line in lines), default=0)
        panel = self._pygame.Surface((wide + 16, 20 * len(lines) + 10))
        panel.set_alpha(170)
        top = window.get_height() - panel.get_height() - 8 if low else 8
        window.blit(panel, (8, top))
        for number, line in enumerate(lines):
            for column, text in enumerate(line):
                window.blit(text, (16 + indent * column, top + 6 + 20 * number))


def fit(width: int, height: int, room_width: int, room_height: int) -> tuple[int, int, int, int]:
    """Place a picture as large as possible in the middle of a window, all in pixels.

    Returns:
        left, top, width, height.
    """
    scale = min(room_width / width, room_height / height)
    shown_width, shown_height = max(1, round(width * scale)), max(1, round(height * scale))
    return (room_width - shown_width) // 2, (room_height - shown_height) // 2, shown_width, shown_height


def start_display() -> Any:
    """Start SDL's display. Returns: the pygame module.

    Raises:
        SinkError: pygame is missing, or nothing would be seen.
    """
    os.environ.setdefault("PYGAME_HIDE_SUPPORT_PROMPT", "1")
    # SDL would keep the screen saver off and would take over SIGINT and SIGTERM.
    os.environ.setdefault("SDL_VIDEO_ALLOW_SCREENSAVER", "1")
    os.environ.setdefault("SDL_NO_SIGNAL_HANDLERS", "1")
    try:
        import pygame
    except ImportError as error:
        raise SinkError("the window needs pygame-ce", hint="pip install pygame-ce") from error
    hint = "use --sink out.mp4 to write a file, or --sink null to measure"
    if sys.platform.startswith("linux") and not _choose_driver():
        raise SinkError("there is no display to open a window on", hint=hint)
    try:
        pygame.display.init()
    except pygame.error as error:
        raise SinkError(f"there is no display to open a window on: {error}", hint=hint) from error
    driver = pygame.display.get_driver()
    if driver in _NO_SCREEN and os.environ.get("SDL_VIDEODRIVER") != driver:
        pygame.display.quit()
        raise SinkError("there is no display to open a window on", hint=hint)
    return pygame


def _choose_driver() -> bool:
    """Keep SDL on Linux from trying drivers that cannot work and complain on standard error.

    Returns:
        False when there is neither X, Wayland, nor a driver that the user has named.
    """
    if os.environ.get("DISPLAY") and not os.environ.get("WAYLAND_DISPLAY"):
        os.environ.setdefault("SDL_VIDEODRIVER", "x11")
    return any(os.environ.get(name) for name in ("SDL_VIDEODRIVER", "DISPLAY", "WAYLAND_DISPLAY"))
