"""From a browser's camera to its screen: the delay of `rtstyle web`, measured in a real browser.

A canvas stands for the camera. It carries the time in its pixels, as black and white cells; a script reads them from
the painting, at strength 0, when the browser shows it.

python -m benchmarks.page [--style NAME|DIR]   (needs playwright, and Chromium)
"""

from __future__ import annotations

import asyncio
import shutil
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import TYPE_CHECKING, Any

import engines
from benchmarks.report import Row, Section, at_most
from benchmarks.subject import NotMeasuredError, Subject
from rtstyle.sources.base import Source
from rtstyle.stats import percentile
from rtstyle.style_library import open_style
from rtstyle.web.rooms import Rooms, WebSettings
from rtstyle.web.server import Server

if TYPE_CHECKING:
    from playwright.sync_api import Browser, Page

    from engines.base import Engine
    from rtstyle.web.training.routes import OwnStyles

BROWSERS = ("chromium", "chromium-browser", "google-chrome")
"""Programs that can be driven."""

ARGUMENTS = (
    "--use-fake-device-for-media-stream", "--use-fake-ui-for-media-stream", "--no-sandbox", "--disable-gpu",
    "--no-first-run", "--disable-background-networking", "--disable-component-update", "--disable-sync",
)  # fmt: skip

P50_MS, P95_MS, GROWTH = 150.0, 250.0, 1.1
"""What the delay may be, and by how much its median may grow from the first third to the last."""

SWITCHES, SWITCH_MS = 10, 150.0
"""How many changes of style are timed, and how long one may take until something is seen."""

CLOCK = """
() => {
  const CELLS = 16, canvas = document.createElement("canvas"), pen = canvas.getContext("2d");
  [canvas.width, canvas.height] = [640, 360];
  const draw = () => {
    const now = Math.round(performance.now()) & 0xffff;
    pen.fillStyle = `hsl(${now / 50 % 360} 60% 50%)`;
    pen.fillRect(0, 0, 640, 360);
    for (let x = 0; x < 40; x++) {
      pen.fillStyle = `hsl(${x * 9} 70% 40%)`;
      pen.fillRect(x * 16, (now / 8 + x * 37) % 280, 12, 30);
    }
    for (let bit = 0; bit < CELLS; bit++) {
      pen.fillStyle = now >> bit & 1 ? "#fff" : "#000";
      pen.fillRect(bit * 40, 320, 40, 40);
    }
  };
  draw();
  setInterval(draw, 1000 / 30);
  navigator.mediaDevices.getUserMedia = async () => canvas.captureStream(30);
  window.delays = [];
  const video = document.getElementById("stylized");
  const eye = document.createElement("canvas").getContext("2d", { willReadFrequently: true });
  const look = () => {
    eye.drawImage(video, 0, 0, 640, 360);
    let shown = 0;
    for (let bit = 0; bit < CELLS; bit++)
      if (eye.getImageData(bit * 40 + 20, 340, 1, 1).data[1] > 127) shown |= 1 << bit;
    window.delays.push((Math.round(performance.now()) - shown) & 0xffff);
    video.requestVideoFrameCallback(look);
  };
  eye.canvas.width = 640; eye.canvas.height = 360;
  video.requestVideoFrameCallback(look);
}
"""
"""A camera that shows the time, and a reader of the painting."""


SWITCH = """
() => {
  const canvas = document.createElement("canvas"), pen = canvas.getContext("2d");
  [canvas.width, canvas.height] = [640, 360];
  const draw = () => {
    for (let x = 0; x < 16; x++) for (let y = 0; y < 9; y++) {
      pen.fillStyle = `hsl(${(x * 37 + y * 71) % 360} 40% ${20 + (x * y) % 60}%)`;
      pen.fillRect(x * 40, y * 40, 40, 40);
    }
  };
  setInterval(draw, 1000 / 30);
  navigator.mediaDevices.getUserMedia = async () => canvas.captureStream(30);
  const video = document.getElementById("stylized");
  const eye = document.createElement("canvas").getContext("2d", { willReadFrequently: true });
  [eye.canvas.width, eye.canvas.height] = [32, 18];
  let before = null, changed = 0, pressed = 0;
  const look = () => {
    eye.drawImage(video, 0, 0, 32, 18);
    const now = eye.getImageData(0, 0, 32, 18).data;
    if (before && pressed && !changed) {
      let sum = 0;
      for (let i = 0; i < now.length; i++) sum += Math.abs(now[i] - before[i]);
      if (sum / now.length > 3) changed = performance.now() - pressed;
    }
    if (!pressed) before = now;
    video.requestVideoFrameCallback(look);
  };
  video.requestVideoFrameCallback(look);
  addEventListener("keydown", () => { pressed = performance.now(); changed = 0; }, true);
  window.switched = () => { const ms = changed; if (ms) pressed = changed = 0; return ms; };
}
"""
"""A camera that sees one picture, and a clock from the press of a key to the first other painting."""


@contextmanager
def serving(
    settings: WebSettings | None = None,
    load: Callable[[str], Engine] = lambda name: engines.load(open_style(name), "cpu", shared=True),
    source: Callable[[], Source] | None = None,
    own_styles: Callable[[Rooms], OwnStyles] | None = None,
) -> Iterator[tuple[str, Rooms]]:
    """The page on a free port, in a thread of its own: its address, and what is behind it."""
    ready, stop = threading.Event(), asyncio.Event()
    told: dict[str, Any] = {}

    async def serve() -> None:
        told["loop"] = asyncio.get_running_loop()
        told["studio"] = Rooms(settings or WebSettings(port=0), load, source)
        server = Server(told["studio"], own_styles=own_styles(told["studio"]) if own_styles else None)
        await server.start()
        told["port"] = server.port
        ready.set()
        await stop.wait()
        await server.close()

    thread = threading.Thread(target=lambda: asyncio.run(serve()), name="page", daemon=True)
    thread.start()
    assert ready.wait(30), "the page's server does not start"
    try:
        yield f"http://127.0.0.1:{told['port']}", told["studio"]
    finally:
        told["loop"].call_soon_threadsafe(stop.set)
        thread.join(20)


@contextmanager
def browser() -> Iterator[Browser]:
    """A headless browser of this machine.

    Raises: FileNotFoundError: there is none. ImportError: playwright is missing.
    """
    from playwright.sync_api import sync_playwright

    program = next((path for name in BROWSERS if (path := shutil.which(name))), None)
    if program is None:
        raise FileNotFoundError(f"none of {', '.join(BROWSERS)} is installed")
    with sync_playwright() as driver:
        shown = driver.chromium.launch(executable_path=program, args=list(ARGUMENTS))
        try:
            yield shown
        finally:
            shown.close()


def wait_for_stylized(page: Page) -> None:
    """Wait until the page shows one. Raises: TimeoutError."""
    end_s = time.monotonic() + 30
    # Not wait_for_function: it needs eval, which the page's policy forbids.
    while not page.evaluate("document.getElementById('stylized').videoWidth"):
        if time.monotonic() > end_s:
            raise TimeoutError("the page shows no stylized video")
        page.wait_for_timeout(50)


def delays(page: Page, address: str, seconds: float) -> list[float]:
    """Milliseconds from a picture of the clock to its painting, for each painting that was shown.

    Args:
        page: an empty one.
        address: of the page's server.
        seconds: how long to look, after two seconds of settling.
    """
    page.goto(address)
    page.get_by_role("radio", name="Stylized").wait_for()
    page.evaluate(CLOCK)
    page.get_by_role("slider", name="Strength").fill("0")
    page.get_by_role("button", name="Start").click()
    wait_for_stylized(page)
    page.wait_for_timeout(3000)
    page.evaluate("window.delays.length = 0")
    page.wait_for_timeout(seconds * 1000)
    return [float(value) for value in page.evaluate("window.delays")]


def switches(page: Page, address: str, count: int) -> list[float]:
    """Milliseconds from the key for the next style until its first trace is seen, so many times.

    Args:
        page: an empty one.
        address: of the page's server.
        count: how often.
    """
    page.goto(address)
    page.get_by_role("radio", name="Stylized").wait_for()
    page.evaluate(SWITCH)
    page.get_by_role("button", name="Start").click()
    wait_for_stylized(page)
    page.wait_for_timeout(8000)  # the other styles are made ready meanwhile
    found: list[float] = []
    for _ in range(count):
        page.keyboard.press("d")
        for _ in range(100):
            page.wait_for_timeout(50)
            if taken := float(page.evaluate("window.switched()")):
                found.append(taken)
                break
        page.wait_for_timeout(1500)
    return found


def measure(subject: Subject) -> Section:
    """Five minutes of one browser, and how long a change of style takes."""
    seconds, style = 300.0, str(subject.style.folder)
    settings = WebSettings(port=0, style=style)
    try:
        with serving(settings) as (address, _), browser() as shown:
            page = shown.new_page()
            values = delays(page, address, seconds)
            page.close()
            changes = switches(shown.new_page(), address, SWITCHES)
    except (ImportError, FileNotFoundError) as error:
        raise NotMeasuredError(f"a browser is needed: {error}") from error
    third = len(values) // 3
    ordered, first, last = sorted(values), sorted(values[:third]), sorted(values[-third:])
    how = f"headless Chromium, 640×360, loopback, {seconds:.0f} s, {len(values)} paintings"
    medians = percentile(first, 50), percentile(last, 50)
    rows = [
        at_most("capture → glass, median", how, percentile(ordered, 50), P50_MS, " ms", 0),
        at_most("capture → glass, p95", how, percentile(ordered, 95), P95_MS, " ms", 0),
        Row("paintings shown", how, f"{len(values) / seconds:.1f} fps"),
        at_most(
            "growth",
            f"median of the last third ({medians[1]:.0f} ms) / of the first ({medians[0]:.0f} ms)",
            medians[1] / medians[0],
            GROWTH,
            " ×",
            2,
        ),
    ]
    rows.append(
        at_most(
            "a key for another style → its first trace on the screen",
            f"median of {len(changes)}; largest {max(changes, default=0.0):.0f} ms",
            percentile(sorted(changes), 50),
            SWITCH_MS,
            " ms",
            0,
        )
    )
    notes = ["The browser captures, encodes, decodes and shows on the same cores as the engine paints on."]
    return Section("page", "Page", subject.label, rows, notes)


if __name__ == "__main__":
    from benchmarks.bench import main

    main("page")
