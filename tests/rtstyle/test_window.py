"""The window with SDL's dummy driver, and once on a real X server."""

from __future__ import annotations

import os
import shutil
import struct
import subprocess
import sys
from collections.abc import Iterator
from dataclasses import replace
from fractions import Fraction
from pathlib import Path

import numpy as np
import numpy.typing as npt
import pytest

from engines.errors import SinkError
from rtstyle.controls import Controls
from rtstyle.frame import Frame
from rtstyle.live.actions import Actions
from rtstyle.live.session import LiveSession
from rtstyle.live.window_keys import WindowKeys
from rtstyle.media.image_files import read_picture
from rtstyle.media.resize import fit
from rtstyle.sinks.window import WindowSink
from rtstyle.sources.pattern import PatternSource

pygame = pytest.importorskip("pygame")

ROOT = Path(__file__).resolve().parents[2]


def frame(width: int = 64, height: int = 48, value: int = 200) -> Frame:
    return Frame(np.full((height, width, 3), value, np.uint8), 0, 0, Fraction(1, 30), 0.0)


def open_window(controls: Controls) -> WindowSink:
    live = LiveSession(PatternSource(64, 48, 30), controls)
    return WindowSink("test", WindowKeys(Actions(live)), size=(64, 48))


@pytest.fixture
def controls() -> Controls:
    return Controls()


@pytest.fixture
def window(controls: Controls, monkeypatch: pytest.MonkeyPatch) -> Iterator[WindowSink]:
    monkeypatch.setenv("SDL_VIDEODRIVER", "dummy")
    sink = open_window(controls)
    yield sink
    sink.close(completed=True)


def press(key: int) -> None:
    pygame.event.post(pygame.event.Event(pygame.KEYDOWN, key=key))


def test_frame_is_shown_as_it_is(window: WindowSink) -> None:
    assert window.write(frame(value=123))
    shown = pygame.surfarray.array3d(pygame.display.get_surface())
    assert shown.shape == (64, 48, 3) and (shown == 123).all()


def test_a_notice_stays_as_long_as_its_frames_come(window: WindowSink) -> None:
    def bottom() -> npt.NDArray[np.uint8]:
        return pygame.surfarray.array3d(pygame.display.get_surface())[:, 24:]

    assert window.write(replace(frame(value=123), notice="camera 0 is not plugged in; waiting for it"))
    assert (bottom() != 123).any()
    assert window.write(frame(value=123))
    assert (bottom() == 123).all()


def test_keys_change_the_controls(window: WindowSink, controls: Controls) -> None:
    for key in (pygame.K_t, pygame.K_z, pygame.K_z, pygame.K_c):
        press(key)
    assert window.write(frame())
    assert controls.mirror
    assert controls.strength == pytest.approx(0.9)


@pytest.mark.parametrize(
    ("key", "caption"),
    [
        (pygame.K_z, "strength 0.9"),
        (pygame.K_c, "strength 1.0"),
        (pygame.K_v, "own colours 0.0"),
        (pygame.K_b, "own colours 0.1"),
        (pygame.K_o, "people only"),
        (pygame.K_LEFTBRACKET, "scale 0.84"),
        (pygame.K_RIGHTBRACKET, "scale 1.19"),
        (pygame.K_p, "paused"),
        (pygame.K_t, "mirror on"),
        (pygame.K_s, "side by side"),
        (pygame.K_0, "style off"),
        (pygame.K_i, "figures on"),
        (pygame.K_f, "full screen"),
    ],
)
def test_a_key_shows_what_it_did(window: WindowSink, key: int, caption: str) -> None:
    press(key)
    assert window.write(frame())
    assert window.caption == caption


def test_keys_change_what_a_mask_does(window: WindowSink, controls: Controls) -> None:
    press(pygame.K_k)
    assert window.write(frame())
    assert window.caption == "choose a part of the picture first: O" and controls.outside == 0.0
    controls.only = "person"
    for key, caption in (
        (pygame.K_k, "outside 0.1"), (pygame.K_y, "inside 0.9"), (pygame.K_e, "soft border 2 px"),
        (pygame.K_j, "outside 0.0"), (pygame.K_u, "inside 1.0"), (pygame.K_w, "soft border 0 px"),
    ):  # fmt: skip
        press(key)
        assert window.write(frame())
        assert window.caption == caption


def test_figures_are_not_cut_off_in_a_narrow_window(window: WindowSink) -> None:
    """Two lines stand on a panel of 50 pixels; in a window of 64 pixels they are broken into more."""
    window.write(frame(value=255))
    window.toggle_figures()
    assert window.write(frame(value=255))
    narrow = pygame.surfarray.array3d(pygame.display.get_surface())
    assert (narrow[8:56, 8:40] < 255).any(axis=(0, 2)).all()
    text = "vangogh · strength 1.0 · scale 1.00"
    assert window._wrapped([text], 10_000) == [[text]]
    assert window._wrapped([text], 130) == [["vangogh"], ["strength 1.0"], ["scale 1.00"]]
    assert window._wrapped(["1-9", text], 10) == [["1-9", text]], "the keys stay in their columns"


@pytest.mark.parametrize("size", [(640, 360), (1280, 720), (480, 270)])
def test_all_keys_fit_into_the_window(window: WindowSink, size: tuple[int, int]) -> None:
    window.write(frame())
    assert window._controller is not None
    surface = pygame.Surface(size)
    surface.fill((90, 90, 90))
    window._draw_help(surface, window._controller.help)
    drawn = (pygame.surfarray.array3d(surface) != 90).any(2)
    columns, rows = np.nonzero(drawn)
    assert rows.min() >= 8 and columns.max() < size[0] - 7 and rows.max() == size[1] - 9


def test_strength_stays_in_range(window: WindowSink, controls: Controls) -> None:
    press(pygame.K_c)
    window.write(frame())
    assert controls.strength == 1.0
    for _ in range(15):
        press(pygame.K_z)
    window.write(frame())
    assert controls.strength == 0.0


def test_scale_goes_in_quarters_of_a_doubling_and_back_to_exactly_1(window: WindowSink, controls: Controls) -> None:
    seen = []
    for key in [pygame.K_RIGHTBRACKET] * 6 + [pygame.K_LEFTBRACKET] * 10:
        press(key)
        window.write(frame())
        seen.append(controls.scale)
    up = [2 ** (step / 4) for step in range(1, 5)]
    assert seen[:6] == pytest.approx([*up, 2, 2])
    assert seen[6:] == pytest.approx([*up[2::-1], 1, *(1 / scale for scale in up), 0.5, 0.5])
    assert seen[9] == 1.0 and seen[-1] == 0.5


def test_scale_from_the_command_line_goes_onto_the_grid(window: WindowSink, controls: Controls) -> None:
    controls.scale = 1.05
    press(pygame.K_LEFTBRACKET)
    window.write(frame())
    assert controls.scale == pytest.approx(2**-0.25)


def test_keys_choose_the_style(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("SDL_VIDEODRIVER", "dummy")
    controls = Controls(styles=["a", "b", "c"])
    window, seen = open_window(controls), []
    for key in (pygame.K_d, pygame.K_3, pygame.K_9, pygame.K_d, pygame.K_a, pygame.K_1):
        press(key)
        window.write(frame())
        seen.append(controls.style)
    assert seen == ["b", "c", "c", "a", "c", "a"]
    window.close(completed=True)


def test_keys_mix_a_second_style_in_and_keep_it(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("SDL_VIDEODRIVER", "dummy")
    controls = Controls(styles=["ab", "cd", "ef", "gh"])
    window, seen, captions = open_window(controls), [], []
    monkeypatch.setattr(window, "show_caption", captions.append)
    for key in "x.x,d4da3.a":
        press(ord(key))
        window.write(frame())
        seen.append(controls.style)
    assert seen[:4] == ["ab:0.5+cd:0.5", "ab:0.4+cd:0.6", "ab:0.4+ef:0.6", "ab:0.5+ef:0.5"]
    assert seen[4:] == ["cd:0.5+ef:0.5", "gh:0.5+ef:0.5", "ab:0.5+ef:0.5", "gh:0.5+ef:0.5", "ef", "ef", "cd"]
    assert captions[:2] == ["ab 50 % + cd 50 %", "ab 40 % + cd 60 %"]
    window.close(completed=True)


def test_key_0_shows_the_input_and_any_style_ends_that(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("SDL_VIDEODRIVER", "dummy")
    controls = Controls(strength=0.7, styles=["a", "b"])
    window, seen = open_window(controls), []
    for key in (pygame.K_0, pygame.K_0, pygame.K_0, pygame.K_2, pygame.K_0, pygame.K_a):
        press(key)
        window.write(frame())
        seen.append(controls.strength)
    assert seen == [0.0, 0.7, 0.0, 0.7, 0.0, 0.7] and controls.style == "a"
    window.close(completed=True)


def test_key_f_fills_the_screen_and_leaves_it_without_a_warning(
    window: WindowSink, recwarn: pytest.WarningsRecorder
) -> None:
    sizes = []
    for _ in range(3):
        sizes.append(pygame.display.get_surface().get_size())
        press(pygame.K_f)
        window.write(frame(320, 180))
    assert sizes == [(64, 48), pygame.display.get_desktop_sizes()[0], (64, 48)]
    assert window.caption == "full screen" and not recwarn.list


def test_figures_are_shown_and_hidden(window: WindowSink) -> None:
    press(pygame.K_i)
    window.write(frame(640, 360))
    assert np.ptp(pygame.surfarray.array3d(pygame.display.get_surface())[:40]) > 50
    press(pygame.K_i)
    window.write(frame(64, 48))
    assert window.caption == "figures off"
    window.show_caption("")
    window.write(frame(64, 48))
    assert np.ptp(pygame.surfarray.array3d(pygame.display.get_surface())[32]) == 0


def test_help_is_shown_and_hidden(window: WindowSink) -> None:
    seen = []
    for _ in range(2):
        press(pygame.K_h)
        window.write(frame())
        seen.append(int(np.ptp(pygame.surfarray.array3d(pygame.display.get_surface()))))
    assert seen[0] > 50 and seen[1] == 0


def test_pause_keeps_the_picture_and_goes_on(window: WindowSink, controls: Controls) -> None:
    seen = []
    for key, value in ((None, 10), (pygame.K_p, 20), (None, 30), (pygame.K_p, 40)):  # paused, the first stays
        if key:
            press(key)
        window.write(frame(value=value))
        seen.append(int(pygame.surfarray.array3d(pygame.display.get_surface())[:, :8].max()))  # above the caption
    assert seen == [10, 10, 10, 40] and not controls.paused


def test_the_input_is_shown_beside_the_stylized_frame(window: WindowSink) -> None:
    press(pygame.K_s)
    window.write(frame())
    window.show_caption("")
    window.write(replace(frame(value=200), input=frame(value=90).rgb))
    shown = pygame.surfarray.array3d(pygame.display.get_surface())[:, 24, 0]
    assert (shown[:30] == 90).all() and (shown[34:] == 200).all()
    window.write(frame(value=77))
    assert pygame.surfarray.array3d(pygame.display.get_surface())[2, 24, 0] == 77, "a frame without an input"


def test_space_saves_pictures_under_free_names(
    window: WindowSink, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    for _ in range(3):
        press(pygame.K_SPACE)
    window.write(frame(value=55))
    saved = sorted(tmp_path.glob("rtstyle-*.png"))
    assert len(saved) == 3
    assert (read_picture(saved[0])[0] == frame(value=55).rgb).all()


def test_a_picture_that_cannot_be_saved_ends_nothing(
    window: WindowSink, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    gone = tmp_path / "gone"
    gone.mkdir()
    monkeypatch.chdir(gone)
    gone.rmdir()
    press(pygame.K_SPACE)
    assert window.write(frame(640, 360))


@pytest.mark.parametrize("key", [pygame.K_ESCAPE, pygame.K_q])
def test_keys_stop(window: WindowSink, key: int) -> None:
    press(key)
    assert not window.write(frame())


def test_close_button_stops_and_close_is_idempotent(window: WindowSink) -> None:
    pygame.event.post(pygame.event.Event(pygame.QUIT))
    assert not window.write(frame())
    window.close(completed=True)
    window.close(completed=False)
    assert not window.write(frame())


def test_frames_of_another_size_fit_the_window(window: WindowSink) -> None:
    assert window.write(frame(32, 48))
    shown = pygame.surfarray.array3d(pygame.display.get_surface())
    assert shown[:16].max() == 0 and shown[48:].max() == 0 and shown[16:48].min() == 200


@pytest.mark.parametrize(
    ("picture", "room", "place"),
    [
        ((640, 360), (640, 360), (0, 0, 640, 360)),
        ((640, 360), (1280, 720), (0, 0, 1280, 720)),
        ((640, 360), (640, 640), (0, 140, 640, 360)),
        ((100, 400), (400, 100), (187, 0, 25, 100)),
        ((4000, 16), (100, 100), (0, 49, 100, 1)),
    ],
)
def test_fit_keeps_the_aspect(
    picture: tuple[int, int], room: tuple[int, int], place: tuple[int, int, int, int]
) -> None:
    assert fit(*picture, *room) == place


@pytest.mark.skipif(not sys.platform.startswith("linux"), reason="displays by environment are X's and Wayland's")
def test_no_display_is_one_clear_error(controls: Controls, monkeypatch: pytest.MonkeyPatch) -> None:
    for name in ("DISPLAY", "WAYLAND_DISPLAY", "SDL_VIDEODRIVER"):
        monkeypatch.delenv(name, raising=False)
    with pytest.raises(SinkError, match="no display") as caught:
        WindowSink("test")
    assert "--sink" in caught.value.hint
    monkeypatch.setenv("DISPLAY", ":7654")
    with pytest.raises(SinkError, match="no display"):
        WindowSink("test")


SHOW = """
import sys
from fractions import Fraction
import numpy as np
from rtstyle.frame import Frame
from rtstyle.sinks.window import WindowSink
rgb = np.zeros((120, 160, 3), np.uint8)
rgb[:, :80] = (255, 0, 0)
rgb[:, 80:] = (0, 0, 255)
sink = WindowSink("test", size=(160, 120))
for number in range(5):
    sink.write(Frame(rgb, number, number, Fraction(1, 30), 0.0))
print("shown", flush=True)
sys.stdin.readline()
sink.close(completed=True)
"""


@pytest.mark.skipif(shutil.which("Xvfb") is None, reason="needs Xvfb")
def test_the_window_is_seen_on_an_x_server(tmp_path: Path) -> None:
    read_end, write_end = os.pipe()
    arguments = ["Xvfb", "-displayfd", str(write_end), "-screen", "0", "320x240x24", "-fbdir", str(tmp_path)]
    server = subprocess.Popen([*arguments, "-nolisten", "tcp"], pass_fds=[write_end], stderr=subprocess.DEVNULL)
    try:
        os.close(write_end)
        with os.fdopen(read_end) as numbers:
            display = numbers.readline().strip()
        env = {k: v for k, v in os.environ.items() if k not in ("SDL_VIDEODRIVER", "WAYLAND_DISPLAY")}
        env["DISPLAY"] = f":{display}"
        window_process = subprocess.Popen(
            [sys.executable, "-c", SHOW], cwd=ROOT, env=env, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True
        )
        assert window_process.stdout is not None
        while window_process.stdout.readline().strip() not in ("shown", ""):
            pass  # pygame may greet
        screen = read_xwd(tmp_path / "Xvfb_screen0")
        window_process.communicate("\n", timeout=20)
        assert window_process.returncode == 0
    finally:
        server.terminate()
        server.wait(timeout=20)
    red, blue = (screen == (255, 0, 0)).all(axis=2), (screen == (0, 0, 255)).all(axis=2)
    assert red.sum() == blue.sum() == 80 * 120


def read_xwd(path: Path) -> npt.NDArray[np.uint8]:
    """The screen of Xvfb's frame buffer file (X11/XWDFile.h). (height, width, 3), RGB."""
    data = path.read_bytes()
    header = struct.unpack(">25I", data[:100])
    start, width, height, row_bytes, colours = header[0], header[4], header[5], header[12], header[19]
    pixels = np.frombuffer(data, np.uint8, row_bytes * height, start + 12 * colours)
    return pixels.reshape(height, row_bytes // 4, 4)[:, :width, 2::-1]
