"""A live run that the page shows: a live session in a thread, and its viewers."""

from __future__ import annotations

from collections.abc import Callable
from threading import Lock, Thread
from typing import Any

from engines.base import Engine
from engines.errors import StylerError
from rtstyle.controls import Controls
from rtstyle.live.actions import Actions
from rtstyle.live.session import LiveSession
from rtstyle.live.style_switcher import StyleSwitcher
from rtstyle.sources.base import Source
from rtstyle.webrtc.tracks import StylizedTrack, ViewersSink


class PageSession:
    """Runs a live session in threads of its own from ``start`` until its source ends or ``close``.

    ``on_end`` is called once, in a thread of the session, with the session and why it ended; the reason is empty when
    it was closed or its source ended. ``microphone`` is heard beside the source.
    """

    def __init__(
        self,
        source: Source,
        load: Callable[[str], Engine],
        controls: Controls,
        on_end: Callable[[PageSession, str], None],
        microphone: str | None = None,
    ) -> None:
        self._live = LiveSession(source, controls, microphone)
        self._load, self._on_end, self.controls = load, on_end, controls
        self._tracks: list[StylizedTrack] = []
        self._lock = Lock()
        self._thread = Thread(target=self._run, name="session", daemon=True)

    @property
    def actions(self) -> Actions:
        """What reads and steers the session."""
        return Actions(self._live)

    def start(self) -> None:
        """Start the session."""
        self._thread.start()

    def add(self, track: StylizedTrack) -> None:
        """Add a viewer."""
        with self._lock:
            self._tracks.append(track)

    def remove(self, track: StylizedTrack) -> None:
        """Remove a viewer; may be called twice."""
        with self._lock:
            if track in self._tracks:
                self._tracks.remove(track)

    def close(self, wait_s: float = 5.0) -> None:
        """Stop, and wait up to ``wait_s`` seconds for the current frame. Any thread may call it, also twice."""
        self._live.stop()
        if self._thread.ident is not None:
            self._thread.join(wait_s)

    def state(self) -> dict[str, Any]:
        """Return settings and figures as plain values."""
        if self._live.sink is None:  # the first engine is still loading
            return {"style": "", "wanted": self.controls.style}
        return self._live.read().to_dict()

    def _run(self) -> None:
        reason = ""
        try:
            with self._live as live:
                live.load(lambda: StyleSwitcher(self._load, self.controls))
                live.run(ViewersSink(self._viewers))
        except StylerError as error:
            reason = str(error)
        except Exception as error:  # noqa: BLE001  # nothing may end this thread silently
            reason = f"{type(error).__name__}: {error}"
        finally:
            self._on_end(self, reason)

    def _viewers(self) -> list[StylizedTrack]:
        with self._lock:
            return list(self._tracks)
