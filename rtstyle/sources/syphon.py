"""Syphon source: pictures of another program on the same Mac, through syphon-python."""

from __future__ import annotations

import importlib
import time
from fractions import Fraction
from typing import Any

import numpy as np

from engines.errors import SourceError
from rtstyle.media.picture_sharing import gone, load, name_in, only_match
from rtstyle.sources.base import Source
from rtstyle.sources.polled import PolledSource, Received

FIND_S = 1.0
"""How long servers have to answer, seconds."""


def list_syphon_servers() -> list[str]:
    """Return the names of the servers, such as ``Resolume Arena (Composition)``. Call it from the main thread.

    Raises:
        SourceError: syphon-python is missing, or this is not macOS.
    """
    return sorted(_servers(_directory(), FIND_S))


class SyphonOpener:
    """Opens a Syphon server, and after it was lost the one with the same name.

    Create it in the main thread: macOS announces servers there only.

    Args:
        text: ``syphon:NAME``, where NAME is a name or a part of one; ``syphon`` takes the only server that there is.
        height: resize to this height, pixels; ``None`` keeps the size.

    Raises:
        SourceError: syphon-python is missing, or there is no such server.
    """

    def __init__(self, text: str, *, height: int | None = None) -> None:
        self._height = height
        self._directory = _directory()
        self._found = _servers(self._directory, FIND_S)
        self._name = only_match("syphon", name_in(text), self._found)

    def __call__(self) -> Source:
        """Open the server.

        Raises:
            SourceError: it is gone, or sends no pictures.
        """
        found = self._found or _servers(self._directory, 0.0)
        self._found = {}  # a server that starts again is another one for Syphon
        if self._name not in found:
            raise gone("syphon", self._name)
        receiver = SyphonReceiver(found[self._name], self._name)
        return PolledSource(f"Syphon {self._name}", receiver, height=self._height)


def _directory() -> Any:
    directory = load("syphon", SourceError).SyphonServerDirectory()
    directory.run_loop_interval = 0.05
    return directory


def _servers(directory: Any, wait_s: float) -> dict[str, Any]:
    """Return name → description of all servers that answer in time; two of the same name are told apart by a number."""
    until_s = time.monotonic() + wait_s
    while True:
        found: dict[str, Any] = {}
        for one in directory.servers:
            name = f"{one.app_name} ({one.name})" if one.name else one.app_name
            same = sum(known == name or known.startswith(f"{name} #") for known in found)
            found[f"{name} #{same + 1}" if same else name] = one
        if time.monotonic() >= until_s:
            return found


class SyphonReceiver:
    """Receives one Syphon server.

    Args:
        description: of the server, from the directory.
        name: of the server.

    Raises:
        SourceError: Metal is missing, or the server does not answer.
    """

    fps = Fraction(0)  # Syphon does not tell it

    def __init__(self, description: Any, name: str) -> None:
        library = load("syphon", SourceError)
        self._name = name
        self._copy = load("syphon", SourceError, ".utils.numpy").copy_mtl_texture_to_image
        self._pool = importlib.import_module("objc").autorelease_pool
        try:
            self._client = library.SyphonMetalClient(description)
        except RuntimeError as error:
            raise SourceError(f"Syphon cannot receive: {error}") from error

    def poll(self) -> Received | None:
        """Return the newest picture, or ``None`` if there is no newer one.

        Raises:
            SourceError: the server is gone.
        """
        import cv2

        if not self._client.is_valid:
            raise gone("syphon", self._name)
        if not self._client.has_new_frame:
            return None
        with self._pool():
            texture = self._client.new_frame_image
            if texture is None:
                return None
            bgra = self._copy(texture)
        return Received(np.asarray(cv2.cvtColor(bgra, cv2.COLOR_BGRA2RGB), np.uint8))

    def close(self) -> None:
        """Let go of the server."""
        self._client.stop()
