"""Spout sink: other programs on the same Windows machine see the stylized frames, through SpoutGL."""

from __future__ import annotations

from collections.abc import Callable
from contextlib import suppress
from threading import Event, Thread
from typing import Any

import cv2

from engines.errors import SinkError
from rtstyle.frame import Frame
from rtstyle.frame_queue import FrameQueue, QueueClosedError
from rtstyle.media.picture_sharing import NO_OPENGL, load
from rtstyle.sinks.paused_slate import shown

MOST_REFUSED = 30
"""So many pictures in a row that Spout did not take mean that it cannot."""


class SpoutSink:
    """Shares every frame in a texture, from a thread of its own, to which its context of OpenGL belongs.

    Args:
        name: of the sender.
        paused: returns True while receivers are to see the paused slate.

    Raises:
        SinkError: SpoutGL is missing, this is not Windows, or there is no OpenGL.
    """

    main_thread = False

    def __init__(self, name: str, *, paused: Callable[[], bool] = lambda: False) -> None:
        self._library, self._rgba_format = load("spout", SinkError), load("spout", SinkError, ".enums").GL_RGBA
        self.name, self._sender_name, self._paused = f"Spout {name}", name, paused
        self._queue: FrameQueue[Frame] = FrameQueue(1, newest_wins=True)
        self._opened = Event()
        self._failure: SinkError | None = None
        self._thread = Thread(target=self._work, name=self.name, daemon=True)
        self._thread.start()
        self._opened.wait()
        if self._failure is not None:
            raise self._failure

    @property
    def dropped(self) -> int:
        """Frames replaced by newer ones because Spout was too slow."""
        return self._queue.dropped

    def write(self, frame: Frame) -> bool:
        """Share one frame; never waits.

        Raises:
            SinkError: Spout failed.
        """
        if self._failure is not None:
            raise self._failure
        with suppress(QueueClosedError):
            self._queue.put(frame)
        return True

    def close(self, *, completed: bool) -> None:
        """Stop sharing; may be called twice."""
        self._queue.close(drain=completed)
        self._thread.join()

    def _work(self) -> None:
        try:
            sender = self._library.SpoutSender()
            if not sender.createOpenGL():
                raise SinkError(*NO_OPENGL)
            try:
                sender.setSenderName(self._sender_name)
                self._opened.set()
                self._share(sender)
            finally:
                sender.releaseSender()
                sender.closeOpenGL()
        except SinkError as error:
            self._failure = error
        except Exception as error:  # noqa: BLE001 - ``write`` raises it
            self._failure = SinkError(f"{self.name} failed: {error or type(error).__name__}")
        finally:
            self._opened.set()

    def _share(self, sender: Any) -> None:
        refused = 0
        for frame in self._queue.receive():
            rgba = cv2.cvtColor(shown(frame, paused=self._paused()), cv2.COLOR_RGB2RGBA)
            height, width = rgba.shape[:2]
            taken = sender.sendImage(rgba, width, height, self._rgba_format, False, 0)
            refused = 0 if taken else refused + 1
            if refused == MOST_REFUSED:
                raise SinkError("Spout takes no pictures", hint=NO_OPENGL[1])
