"""Live use without a camera: the pattern through a known engine into nothing, a file and a dummy window."""

from __future__ import annotations

import threading
from collections.abc import Iterator
from pathlib import Path

import pytest

from engines.base import RGB, EngineInfo
from engines.errors import ConfigError, ShapeError, SinkError, SourceError
from rtstyle.controls import Controls
from rtstyle.frame import Frame
from rtstyle.live.webcam import WebcamJob, run_webcam
from rtstyle.sources.base import Source
from rtstyle.sources.pattern import PatternSource
from rtstyle.stats import Stats

pytestmark = pytest.mark.real_time


class Identity:
    """Gives every frame back."""

    info = EngineInfo("identity", "numpy", "here", "uint8", "none")

    def __init__(self) -> None:
        self.closed = False

    def __call__(self, rgb: RGB, strength: float = 1.0, colours: float = 0.0) -> RGB:
        return rgb.copy()

    def close(self) -> None:
        self.closed = True


def test_pattern_into_nothing_gives_figures() -> None:
    engine = Identity()
    seen: list[int] = []
    figures = run_webcam(
        WebcamJob("pattern", ("null",), (64, 48), 200.0, 20),
        lambda: engine,
        Controls(),
        on_frame=lambda stats: seen.append(stats.snapshot().frames_out),
    )
    assert figures.frames_out == 20 and seen == list(range(1, 21))
    assert (figures.width, figures.height) == (64, 48)
    assert engine.closed


def test_pattern_into_a_file(tmp_path: Path) -> None:
    import av

    target = tmp_path / "out.mp4"
    run_webcam(WebcamJob("pattern", (str(target),), (64, 48), 100.0, 10), Identity, Controls())
    with av.open(str(target)) as container:
        assert sum(1 for _ in container.decode(video=0)) == 10
    with pytest.raises(SinkError, match="exists"):
        run_webcam(WebcamJob("pattern", (str(target),), (64, 48), 100.0, 10), Identity, Controls())
    assert [path.name for path in tmp_path.iterdir()] == ["out.mp4"]


def test_a_recording_that_is_stopped_is_kept(tmp_path: Path) -> None:
    import av

    controls = Controls()

    def stop_soon(stats: Stats) -> None:
        if stats.snapshot().frames_out == 5:
            controls.request_stop()

    target = tmp_path / "out.mkv"
    run_webcam(WebcamJob("pattern", (str(target),), (64, 48), 100.0), Identity, controls, on_frame=stop_soon)
    with av.open(str(target)) as container:
        assert sum(1 for _ in container.decode(video=0)) == 5


def test_closing_the_source_ends_a_wait() -> None:
    """With one frame in a quarter of an hour, only the close can end this."""
    controls = Controls()
    opened: list[Source] = []
    first = threading.Event()

    def stop() -> None:
        first.wait(10.0)
        controls.request_stop()
        opened[0].close()

    threading.Thread(target=stop, daemon=True).start()
    job = WebcamJob("pattern", ("null",), (64, 48), 0.001)
    figures = run_webcam(job, Identity, controls, on_frame=lambda _: first.set(), on_start=opened.append)
    assert figures.frames_out == 1


def test_window_on_a_dummy_display(monkeypatch: pytest.MonkeyPatch) -> None:
    pytest.importorskip("pygame")
    monkeypatch.setenv("SDL_VIDEODRIVER", "dummy")
    figures = run_webcam(WebcamJob("pattern", ("window",), (64, 48), 200.0, 5), Identity, Controls())
    assert figures.frames_out == 5


@pytest.mark.parametrize(
    ("job", "kind", "problem"),
    [
        (WebcamJob("pattern", ("window",), (15, 480)), ShapeError, "too small"),
        (WebcamJob("pattern", ("screen",)), SinkError, "unknown sink"),
        (WebcamJob("pattern", ("out.xyz",)), ConfigError, "unknown kind"),
        (WebcamJob("pattern", ("no/such/folder/out.mp4",)), SinkError, "no such folder"),
        (WebcamJob("none.mp4", ("null",)), SourceError, "no such file"),
        (WebcamJob("frames/%04d.png", ("null",)), SourceError, "`rtstyle video` reads numbered pictures"),
        (WebcamJob("98", ("null",)), SourceError, "camera 98"),
    ],
)
def test_bad_jobs_fail_before_an_engine_is_loaded(job: WebcamJob, kind: type[Exception], problem: str) -> None:
    def never() -> Identity:
        raise AssertionError("the engine was loaded")

    with pytest.raises(kind, match=problem):
        run_webcam(job, never, Controls())


def test_an_engine_that_fails_closes_the_source(monkeypatch: pytest.MonkeyPatch) -> None:
    source = PatternSource(64, 48, 100)
    monkeypatch.setattr("rtstyle.live.webcam.open_source", lambda *_, **__: source)

    def fail() -> Identity:
        raise SourceError("no engine")

    with pytest.raises(SourceError, match="no engine"):
        run_webcam(WebcamJob("pattern", ("null",)), fail, Controls())
    assert list(source.frames()) == []


def test_delay_of_a_slow_engine_stays_below_its_time_and_one_frame() -> None:
    """An engine that takes ten frames' time must not let them queue: the figures count what was thrown away."""
    gate = threading.Event()

    class Slow(Identity):
        def __call__(self, rgb: RGB, strength: float = 1.0, colours: float = 0.0) -> RGB:
            gate.wait(0.05)
            return rgb.copy()

    figures = run_webcam(WebcamJob("pattern", ("null",), (64, 48), 200.0, 12), Slow, Controls())
    assert figures.frames_out == 12 and figures.dropped > 50
    assert figures.age_p50_ms < 2 * 50


def test_an_unplugged_camera_leaves_the_recording(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    import av

    class Unplugged(PatternSource):
        def frames(self) -> Iterator[Frame]:
            for frame in super().frames():
                if frame.index == 8:
                    self.stylized.wait(10.0)  # newest wins: what is not stylized yet would be lost
                    raise SourceError("camera 0 stopped sending pictures")
                yield frame

        stylized = threading.Event()

    source = Unplugged(64, 48, 50)
    monkeypatch.setattr("rtstyle.live.webcam.open_source", lambda *_, **__: source)
    target = tmp_path / "out.mp4"
    with pytest.raises(SourceError, match="stopped sending"):
        run_webcam(WebcamJob("0", (str(target),)), Identity, Controls(), on_frame=lambda _: source.stylized.set())
    with av.open(str(target)) as container:
        assert sum(1 for _ in container.decode(video=0)) >= 1
