"""Window sink: show frames in a resizable SDL window."""

from __future__ import annotations

import os
import sys
import time
from collections.abc import Iterable, Iterator, Sequence
from contextlib import contextmanager
from itertools import product, zip_longest
from typing import TYPE_CHECKING, Any, Protocol

import cv2
import numpy as np

from engines.base import RGB
from engines.errors import SinkError
from rtstyle.frame import Frame
from rtstyle.media.resize import fit

if TYPE_CHECKING:
    import pygame

TEXT_SIZES = (22, 20, 18, 16, 14, 12)
"""Heights of letters, pixels; the smaller ones for keys that do not fit into the window."""

CAPTION_S = 2.0
"""How long a caption stays, seconds."""

_NO_SCREEN = ("offscreen", "dummy", "evdev")
"""SDL drivers that show nothing; SDL falls back to them in silence where there is no display."""


class WindowController(Protocol):
    """Decides what keys do and what a window shows beside its frames."""

    @property
    def help(self) -> Sequence[Sequence[str]]:
        """Rows of (keys, meaning) for the H key."""
        ...

    @property
    def paused(self) -> bool:
        """True while the window keeps its picture."""
        ...

    def figures(self) -> list[str]:
        """Return the lines that the I key shows."""
        ...

    def press(self, key: str, window: WindowSink) -> bool:
        """Carry out what a key asks for; return False to stop."""
        ...

    def look(self, window: WindowSink) -> bool:
        """Called before each frame is drawn; return True to show that a recording is running."""
        ...


class WindowSink:
    """A resizable window that keeps the aspect of the picture, on black.

    Args:
        title: of the window.
        controller: steers it; without one only Esc, Q and the close button work.
        size: (width, height) of the frames to come, pixels; the window then opens at once, not with the first frame.

    Raises:
        SinkError: there is no display.
    """

    def __init__(
        self, title: str, controller: WindowController | None = None, *, size: tuple[int, int] | None = None
    ) -> None:
        self._title, self._controller = title, controller
        self._figures_shown = self._help_shown = self._side_by_side = False
        self._frame: Frame | None = None
        self._caption, self._caption_until_s = "", 0.0
        self._pygame = start_display()
        self._window: pygame.Surface | None = None
        self._windowed_size = (640, 360)  # before it filled the screen
        self._fonts: dict[int, Any] = {}
        self._closed = False
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
        """Show one frame and handle the keys.

        Returns:
            False when the window was closed, or Esc or Q pressed.

        Raises:
            SinkError: the display went away.
        """
        if self._closed:
            return False
        with self._mapped_errors():
            window = self._window or self._open(frame.rgb.shape[1], frame.rgb.shape[0])
            self._frame = self._frame or frame  # keys refer to the picture that is seen
            # Events come before drawing: they may change the size of the window.
            answers = [self._handle(event) for event in self._pygame.event.get()]
            if self._controller is None or not self._controller.paused:
                self._frame = frame
            window = self._pygame.display.get_surface() or window
            assert self.picture is not None
            self._draw(window, self.picture)
            self._pygame.display.flip()
        return all(answers)

    def close(self, *, completed: bool) -> None:  # noqa: ARG002, a window has nothing to complete
        """Close the window; may be called twice."""
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

    @property
    def caption(self) -> str:
        """The caption that was shown last."""
        return self._caption

    @property
    def picture(self) -> RGB | None:
        """What is shown, without texts: the stylized frame, or input and stylized frame side by side."""
        frame = self._frame
        if frame is None or not self._side_by_side or frame.input is None:
            return None if frame is None else frame.rgb
        return np.hstack([frame.input, frame.rgb])

    def show_caption(self, text: str) -> None:
        """Show a line of text for ``CAPTION_S``."""
        self._caption, self._caption_until_s = text, time.monotonic() + CAPTION_S

    def toggle_side_by_side(self) -> str:
        """Show the input beside the stylized frame, or hide it. Returns: a caption."""
        self._side_by_side = not self._side_by_side
        return "side by side" if self._side_by_side else "stylized only"

    def toggle_figures(self) -> str:
        """Show or hide the figures. Returns: a caption."""
        self._figures_shown = not self._figures_shown
        return f"figures {'on' if self._figures_shown else 'off'}"

    def toggle_help(self) -> str:
        """Show or hide the keys. Returns: no caption."""
        self._help_shown = not self._help_shown
        self._caption = ""
        return ""

    def toggle_full_screen(self) -> str:
        """Fill the screen, or leave it. Returns: a caption."""
        display = self._pygame.display
        # SDL's own switch would keep the surface as small as the window, with a warning, and does nothing on Wayland.
        try:
            if display.is_fullscreen():
                self._window = display.set_mode(self._windowed_size, self._pygame.RESIZABLE)
            else:
                self._windowed_size = display.get_window_size()
                self._window = display.set_mode((0, 0), self._pygame.FULLSCREEN)
        except self._pygame.error:
            return "this screen has no full-screen mode"
        return "full screen" if display.is_fullscreen() else "window"

    def _handle(self, event: Any) -> bool:
        """Handle an event; return False when it asks to stop."""
        if event.type == self._pygame.QUIT:
            return False
        if event.type != self._pygame.KEYDOWN:
            return True
        name = self._pygame.key.name(event.key).lower()
        # Digits and brackets go by the character: not every keyboard has them where an American one has.
        symbol = getattr(event, "unicode", "")
        key = symbol if symbol.isdecimal() or symbol in ("[", "]") else name
        return key not in ("escape", "q") if self._controller is None else self._controller.press(key, self)

    def _draw(self, window: pygame.Surface, rgb: RGB) -> None:
        left, top, width, height = fit(rgb.shape[1], rgb.shape[0], *window.get_size())
        if (width, height) != (rgb.shape[1], rgb.shape[0]):
            rgb = np.asarray(cv2.resize(rgb, (width, height), interpolation=cv2.INTER_LINEAR), dtype=np.uint8)
        if (width, height) != window.get_size():
            window.fill((0, 0, 0))
        picture = self._pygame.image.frombuffer(np.ascontiguousarray(rgb), (width, height), "RGB")
        window.blit(picture, (left, top))
        controller = self._controller
        if controller is not None and controller.look(self):
            radius = max(4, window.get_height() // 48)
            self._pygame.draw.circle(window, (220, 0, 0), (window.get_width() - 2 * radius, 2 * radius), radius)
        if controller is not None and self._figures_shown and not self._help_shown:
            self._draw_lines(window, [[line] for line in controller.figures()])
        if self._frame is not None and self._frame.notice:
            self._draw_lines(window, [[self._frame.notice]], low=True)
        elif self._caption and time.monotonic() < self._caption_until_s:
            self._draw_lines(window, [[self._caption]], low=True)
        elif controller is not None and self._help_shown:
            self._draw_help(window, controller.help)

    def _draw_lines(self, window: pygame.Surface, rows: Iterable[Sequence[str]], *, low: bool = False) -> None:
        """Draw text on a dark panel at the top, or at the bottom (``low``), in columns."""
        panel = self._panel([part for row in rows for part in self._wrapped(row, window.get_width() - 32)])
        window.blit(panel, (8, window.get_height() - panel.get_height() - 8 if low else 8))

    def _draw_help(self, window: pygame.Surface, rows: Sequence[Sequence[str]]) -> None:
        """Draw the keys at the bottom: where the window is small, side by side and in smaller letters."""
        half = (len(rows) + 1) // 2
        beside = [(*row, *other) for row, other in zip_longest(rows[:half], rows[half:], fillvalue=())]
        for size, layout in product(TEXT_SIZES, (rows, beside)):
            panel = self._panel(layout, size)
            if panel.get_width() <= window.get_width() - 16 and panel.get_height() <= window.get_height() - 16:
                break
        window.blit(panel, (8, window.get_height() - panel.get_height() - 8))

    def _panel(self, rows: Sequence[Sequence[str]], size: int = TEXT_SIZES[0]) -> pygame.Surface:
        """Return rows of text, each in columns, on a dark panel."""
        font = self._font(size)
        lines = [[font.render(text, True, (255, 255, 255)) for text in row] for row in rows]
        count = max(map(len, lines), default=1)
        wide = [max((line[at].get_width() for line in lines if len(line) > at + 1), default=0) for at in range(count)]
        lefts = [8 + sum(wide[:at]) + 16 * at for at in range(count)]
        right = max((lefts[len(line) - 1] + line[-1].get_width() for line in lines if line), default=0)
        high = round(20 * size / TEXT_SIZES[0])
        panel: pygame.Surface = self._pygame.Surface((right + 8, high * len(lines) + 10), self._pygame.SRCALPHA)
        panel.fill((0, 0, 0, 170))
        for number, line in enumerate(lines):
            for left, text in zip(lefts, line, strict=False):
                panel.blit(text, (left, 6 + high * number))
        return panel

    def _font(self, size: int) -> pygame.font.Font:
        if size not in self._fonts:
            self._pygame.font.init()
            self._fonts[size] = self._pygame.font.Font(None, size)
        font: pygame.font.Font = self._fonts[size]
        return font

    def _wrapped(self, row: Sequence[str], width: int) -> list[list[str]]:
        """Break a row of one column at its dots, so that its parts are at most ``width`` pixels wide if possible."""
        if len(row) > 1:
            return [list(row)]
        parts = [""]
        for piece in row[0].split(" · "):
            longer = f"{parts[-1]} · {piece}" if parts[-1] else piece
            if parts[-1] and self._font(TEXT_SIZES[0]).size(longer)[0] > width:
                parts.append(piece)
            else:
                parts[-1] = longer
        return [[part] for part in parts]


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
