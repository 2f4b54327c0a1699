"""One painting while it runs: a source, an engine, and whoever watches."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from threading import Lock, Thread
from typing import Any

from engines.base import RGB, Engine, EngineInfo, SharingEngine
from engines.errors import ConfigError, StylerError
from rtstyle.live.recorder import Recorder
from rtstyle.live.session import Live
from rtstyle.live.style_switcher import Palette
from rtstyle.pipeline import Controls, run
from rtstyle.sources.base import Source
from rtstyle.stats import Stats
from rtstyle.webrtc.tracks import PaintedTrack, ViewersSink


class Session:
    """Paints in threads of its own from ``start`` until its source ends or ``close``.

    Args:
        source: open; closed with the session.
        load: makes the engine of a style.
        controls: what viewers may change.
        on_end: told once, in a thread of the session: which one has ended and why, empty when it was closed or its
            source ended.
    """

    def __init__(
        self, source: Source, load: Callable[[str], Engine], controls: Controls, on_end: Callable[[Session, str], None]
    ) -> None:
        self.controls, self.stats = controls, Stats()
        self._source, self._load, self._on_end = source, load, on_end
        self._tracks: list[PaintedTrack] = []
        self._lock = Lock()
        self._live: Live | None = None
        self._thread = Thread(target=self._run, name="session", daemon=True)

    def start(self) -> None:
        """Begin."""
        self._thread.start()

    def add(self, track: PaintedTrack) -> None:
        """One more who watches."""
        with self._lock:
            self._tracks.append(track)

    def remove(self, track: PaintedTrack) -> None:
        """One fewer. Twice is fine."""
        with self._lock:
            if track in self._tracks:
                self._tracks.remove(track)

    def close(self, wait_s: float = 5.0) -> None:
        """Stop, and wait so long for the frame at hand. Twice is fine; any thread may call it."""
        self.controls.request_stop()
        self._source.close()
        if self._thread.ident is not None:
            self._thread.join(wait_s)

    def state(self) -> dict[str, Any]:
        """Settings and figures as they are now, plain values."""
        live = self._live
        if live is not None:
            return live.reading().to_dict()
        return {"style": "", "wanted": self.controls.style}  # its first engine is being made ready

    def _run(self) -> None:
        reason = ""
        try:
            palette = Palette(self._load, self.controls)
            live = Live(self._source, palette, self.controls, self.stats, Recorder())
            live.sink = sink = ViewersSink(self._watching)
            self._live = live
            try:
                run(self._source, palette, sink, self.controls, self.stats, on_frame=live.put)
            finally:
                self._live = None
                palette.close()
        except StylerError as error:
            reason = str(error)
        except Exception as error:  # noqa: BLE001  # nothing may end this thread in silence
            reason = f"{type(error).__name__}: {error}"
        finally:
            self._source.close()
            self._on_end(self, reason)

    def _watching(self) -> list[PaintedTrack]:
        with self._lock:
            return list(self._tracks)


def obey(controls: Controls, wishes: Mapping[str, Any]) -> None:
    """Apply what a viewer asks for: any of ``style``, ``strength``, ``scale``, ``mirror``.

    Raises:
        ConfigError: something else is asked for, or a value has the wrong type. StyleError, ShapeError: a value
        that does not exist or is out of range. What came before the fault has been applied.
    """
    kinds: dict[str, tuple[type, ...]] = {
        "style": (str,),
        "strength": (int, float),
        "scale": (int, float),
        "mirror": (bool,),
    }
    for name, value in wishes.items():
        # True is an int, and no strength.
        if name not in kinds or not isinstance(value, kinds[name]) or (isinstance(value, bool) and name != "mirror"):
            raise ConfigError(f"cannot set {name!r} to {value!r}"[:200], hint=f"settings: {', '.join(kinds)}")
        setattr(controls, name, value)


class Shelf:
    """Engines that several sessions share: each style is loaded once, and called by one session at a time.

    Several sessions would only take the same cores from each other, and the memory twice.

    Args:
        load: makes the engine of a style.
    """

    def __init__(self, load: Callable[[str], Engine]) -> None:
        self._load = load
        self._lock = Lock()
        self._shared: dict[str, _Shared] = {}

    def load(self, style: str) -> Engine:
        """An engine of this style; freed when everybody who has it has closed it.

        Raises:
            what the loader raises.
        """
        with self._lock:
            shared = self._shared.get(style)
            if shared is None:
                shared = self._shared[style] = _Shared(self._load(style))
            shared.users += 1
            kind = _BorrowedSharing if isinstance(shared.engine, SharingEngine) else _Borrowed
            return kind(shared, lambda: self._give_back(style))

    def _give_back(self, style: str) -> None:
        with self._lock:
            shared = self._shared[style]
            shared.users -= 1
            if shared.users == 0:
                del self._shared[style]
                with shared.lock:
                    shared.engine.close()


class _Shared:
    """An engine and those who have it."""

    def __init__(self, engine: Engine) -> None:
        self.engine, self.lock, self.users = engine, Lock(), 0


class _Borrowed:
    """An engine of a shelf."""

    def __init__(self, shared: _Shared, give_back: Callable[[], None]) -> None:
        self._shared, self._give_back = shared, give_back
        self._closed = False

    @property
    def info(self) -> EngineInfo:
        """What the engine is."""
        return self._shared.engine.info

    def __call__(self, rgb: RGB, strength: float = 1.0) -> RGB:
        """Stylize one frame; waits while another session's is painted."""
        with self._shared.lock:
            return self._shared.engine(rgb, strength)

    def close(self) -> None:
        """Give it back. Twice is fine."""
        if not self._closed:
            self._closed = True
            self._give_back()


class _BorrowedSharing(_Borrowed):
    """One that shares what is compiled: an ``engines.base.SharingEngine``."""

    def prepare(self, height: int, width: int) -> None:
        """Have what the first frame of this size, in pixels, needs; waits while another session's is painted."""
        with self._shared.lock:
            engine = self._shared.engine
            assert isinstance(engine, SharingEngine)
            engine.prepare(height, width)
