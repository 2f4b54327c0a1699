"""Syphon sink: other programs on the same Mac see the stylized frames, through syphon-python."""

from __future__ import annotations

import importlib
from collections.abc import Callable
from typing import Any

import cv2

from engines.errors import SinkError
from rtstyle.frame import Frame
from rtstyle.media.picture_sharing import load
from rtstyle.sinks.paused_slate import shown

RUN_LOOP_S = 0.001
"""How long macOS gets for its events after each frame, seconds: other programs ask there which servers there are."""


class SyphonSink:
    """Publishes every frame as a Metal texture.

    Args:
        name: of the server.
        paused: returns True while receivers are to see the paused slate.

    Raises:
        SinkError: syphon-python is missing, this is not macOS, or there is no Metal.
    """

    main_thread = True  # where macOS delivers the questions of other programs

    def __init__(self, name: str, *, paused: Callable[[], bool] = lambda: False) -> None:
        library = load("syphon", SinkError)
        self._raw, self._numpy = load("syphon", SinkError, ".utils.raw"), load("syphon", SinkError, ".utils.numpy")
        self.name, self._paused = f"Syphon {name}", paused
        self._pool = importlib.import_module("objc").autorelease_pool
        try:
            self._server = library.SyphonMetalServer(name)
        except RuntimeError as error:
            raise SinkError(f"Syphon cannot share: {error}") from error
        self._directory = library.SyphonServerDirectory()
        self._directory.run_loop_interval = RUN_LOOP_S
        self._texture: Any = None
        self._size = (0, 0)

    def write(self, frame: Frame) -> bool:
        """Publish one frame.

        Raises:
            SinkError: Metal failed.
        """
        rgba = cv2.cvtColor(shown(frame, paused=self._paused()), cv2.COLOR_RGB2RGBA)
        height, width = rgba.shape[:2]
        try:
            with self._pool():
                if self._size != (width, height):
                    self._texture = self._raw.create_mtl_texture(self._server.device, width, height)
                    self._size = (width, height)
                self._numpy.copy_image_to_mtl_texture(rgba, self._texture)
                self._server.publish_frame_texture(self._texture, is_flipped=True)  # Syphon counts rows from below
                self._directory.update_run_loop()
        except Exception as error:
            raise SinkError(f"{self.name} failed: {error or type(error).__name__}") from error
        return True

    def close(self, *, completed: bool) -> None:  # noqa: ARG002 - what was shown was shown
        """Stop publishing; may be called twice."""
        self._server.stop()
        self._directory.close()
