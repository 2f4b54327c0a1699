"""Spout source: pictures of another program on the same Windows machine, through SpoutGL."""

from __future__ import annotations

from fractions import Fraction
from typing import Any

import numpy as np

from engines.errors import SourceError
from rtstyle.media.picture_sharing import NO_OPENGL, gone, load, name_in, only_match
from rtstyle.sources.base import Source
from rtstyle.sources.polled import PolledSource, Received


def list_spout_senders() -> list[str]:
    """Return the names of the programs that send.

    Raises:
        SourceError: SpoutGL is missing, or this is not Windows.
    """
    return sorted(load("spout", SourceError).SpoutReceiver().getSenderList())


class SpoutOpener:
    """Opens a Spout sender, and after it was lost the one with the same name.

    Args:
        text: ``spout:NAME``, where NAME is a name or a part of one; ``spout`` takes the only sender that there is.
        height: resize to this height, pixels; ``None`` keeps the size.
    """

    def __init__(self, text: str, *, height: int | None = None) -> None:
        self._wanted, self._height = name_in(text), height
        self._known = ""

    def __call__(self) -> Source:
        """Look for the sender and open it.

        Raises:
            SourceError: SpoutGL is missing, there is no such sender, or it sends no pictures.
        """
        names = list_spout_senders()
        if self._known and self._known not in names:
            raise gone("spout", self._known)
        name = self._known or only_match("spout", self._wanted, names)
        source = PolledSource(f"Spout {name}", SpoutReceiver(name), height=self._height)
        self._known = name
        return source


class SpoutReceiver:
    """Receives one Spout sender. Its context of OpenGL belongs to the thread that creates it.

    Args:
        name: of the sender.

    Raises:
        SourceError: there is no OpenGL.
    """

    fps = Fraction(0)  # Spout does not tell it

    def __init__(self, name: str) -> None:
        library = load("spout", SourceError)
        self._name, self._rgba_format = name, load("spout", SourceError, ".enums").GL_RGBA
        self._receiver: Any = library.SpoutReceiver()
        if not self._receiver.createOpenGL():
            raise SourceError(*NO_OPENGL)
        self._receiver.setReceiverName(name)
        self._buffer = np.zeros((0, 0, 4), np.uint8)
        self._connected = False

    def poll(self) -> Received | None:
        """Return the newest picture, or ``None`` if there is no newer one.

        Raises:
            SourceError: the sender is gone.
        """
        receiver = self._receiver
        taken = receiver.receiveImage(self._buffer if self._buffer.size else None, self._rgba_format, False, 0)
        if receiver.isUpdated():
            # The next call fills a buffer of the new size.
            self._buffer = np.zeros((receiver.getSenderHeight(), receiver.getSenderWidth(), 4), np.uint8)
            return None
        if not taken or not receiver.isConnected():
            if self._connected:
                raise gone("spout", self._name)
            return None
        self._connected = True
        if not self._buffer.size or not receiver.isFrameNew():
            return None
        import cv2

        return Received(np.asarray(cv2.cvtColor(self._buffer, cv2.COLOR_RGBA2RGB), np.uint8))

    def close(self) -> None:
        """Let go of the sender."""
        self._receiver.releaseReceiver()
        self._receiver.closeOpenGL()
