"""Spout and Syphon by the documented interface of their packages, which exist on Windows and macOS only; and names."""

from __future__ import annotations

import re
import sys
import threading
from collections.abc import Callable
from contextlib import nullcontext
from dataclasses import dataclass, field
from fractions import Fraction
from itertools import islice
from types import ModuleType
from typing import Any

import numpy as np
import pytest

from engines.base import RGB
from engines.errors import SinkError, SourceError
from engines.install_hint import pip_install
from rtstyle.frame import Frame, SourceInfo
from rtstyle.media import picture_sharing
from rtstyle.media.picture_sharing import name_in, only_match, prefix_of
from rtstyle.sinks.base import Sink
from rtstyle.sinks.factory import SinkOptions, check_sinks, open_sinks
from rtstyle.sinks.paused_slate import paused_slate
from rtstyle.sources import syphon
from rtstyle.sources.factory import kind_of, open_source
from rtstyle.sources.polled import PolledSource, Received
from tests.rtstyle.test_style_switcher import until

INFO = SourceInfo("test", 64, 48, Fraction(30), None, live=True)


def options(paused: Callable[[], bool] = lambda: False) -> SinkOptions:
    return SinkOptions(info=INFO, paused=paused)


def picture(shade: int = 0, size: tuple[int, int] = (48, 64)) -> RGB:
    rgb = np.full((*size, 3), shade, np.uint8)
    rgb[: size[0] // 2, : size[1] // 4] = (200, 100, 50)  # top left
    return rgb


def frame(rgb: RGB, number: int = 0) -> Frame:
    return Frame(rgb, number, number, Fraction(1, 30), number / 30)


@dataclass
class Shared:
    """What one program shows: the newest picture, RGBA, top row first, and its number."""

    rgba: Any
    number: int = 1


class OneThread:
    """An object of SpoutGL: its context of OpenGL belongs to the thread that made it."""

    def __init__(self) -> None:
        self.thread: int | None = None
        self.closed = 0

    def createOpenGL(self) -> bool:  # noqa: N802
        self.thread = threading.get_ident()
        return FakeSpout.opengl

    def closeOpenGL(self) -> bool:  # noqa: N802
        self.check()
        self.closed += 1
        return True

    def check(self) -> None:
        assert self.thread == threading.get_ident(), "another thread has no context"


class FakeSpout(ModuleType):
    """The part of SpoutGL 0.1.1 that is used, as ``PySpoutGL.cpp`` declares it."""

    opengl = True
    takes = True
    senders: dict[str, Shared] = {}  # noqa: RUF012
    GL_RGBA = 0x1908

    class SpoutSender(OneThread):
        def setSenderName(self, name: str) -> None:  # noqa: N802
            self.check()
            self.name = name

        def sendImage(self, pixels: Any, width: int, height: int, form: int, invert: bool, fbo: int) -> bool:  # noqa: N802
            self.check()
            view = memoryview(pixels)
            assert view.c_contiguous and view.nbytes >= width * height * 4
            assert (form, invert, fbo) == (FakeSpout.GL_RGBA, False, 0)
            if FakeSpout.takes:
                known = FakeSpout.senders.get(self.name)
                rgba = np.frombuffer(view, np.uint8).reshape(height, width, 4).copy()
                FakeSpout.senders[self.name] = Shared(rgba, known.number + 1 if known else 1)
            return FakeSpout.takes

        def releaseSender(self) -> None:  # noqa: N802
            self.check()
            FakeSpout.senders.pop(getattr(self, "name", ""), None)

    class SpoutReceiver(OneThread):
        def __init__(self) -> None:
            super().__init__()
            self.size, self.updated, self.new, self.seen = (0, 0), False, False, 0

        def getSenderList(self) -> list[str]:  # noqa: N802
            return list(FakeSpout.senders)

        def setReceiverName(self, name: str) -> None:  # noqa: N802
            self.name = name

        def receiveImage(self, buffer: Any, form: int, invert: bool, fbo: int) -> bool:  # noqa: N802
            self.check()
            assert (form, invert, fbo) == (FakeSpout.GL_RGBA, False, 0)
            shared = FakeSpout.senders.get(self.name)
            if shared is None:
                return False
            if shared.rgba.shape[:2] != self.size:
                self.size, self.updated = shared.rgba.shape[:2], True
                return True
            assert buffer is not None and buffer.nbytes == shared.rgba.nbytes
            buffer[:] = shared.rgba
            self.new, self.seen = shared.number != self.seen, shared.number
            return True

        def isUpdated(self) -> bool:  # noqa: N802
            updated, self.updated = self.updated, False
            return updated

        def isConnected(self) -> bool:  # noqa: N802
            return self.name in FakeSpout.senders

        def isFrameNew(self) -> bool:  # noqa: N802
            return self.new

        def getSenderHeight(self) -> int:  # noqa: N802
            return self.size[0]

        def getSenderWidth(self) -> int:  # noqa: N802
            return self.size[1]

        def releaseReceiver(self) -> None:  # noqa: N802
            self.check()


@dataclass
class FakeTexture:
    device: str
    width: int
    height: int
    rgba: Any = None


@dataclass
class Description:
    app_name: str
    name: str
    server: FakeServer


class FakeServer:
    """``SyphonMetalServer``: rows count from below unless the texture is flipped."""

    running: list[FakeServer] = []  # noqa: RUF012

    def __init__(self, name: str) -> None:
        self.name, self.device, self.shown, self.number = name, "metal", None, 0
        FakeServer.running.append(self)

    def publish_frame_texture(self, texture: FakeTexture, *, is_flipped: bool) -> None:
        assert texture.device == self.device
        self.shown = texture.rgba if is_flipped else texture.rgba[::-1]
        self.number += 1

    def stop(self) -> None:
        if self in FakeServer.running:
            FakeServer.running.remove(self)


class FakeDirectory:
    run_loop_interval = 1.0
    answered = 0

    @property
    def servers(self) -> list[Description]:
        return [Description("Studio", one.name, one) for one in FakeServer.running]

    def update_run_loop(self) -> None:
        FakeDirectory.answered += 1

    def close(self) -> None:
        pass


class FakeClient:
    def __init__(self, description: Description) -> None:
        self._server, self._seen = description.server, 0

    @property
    def is_valid(self) -> bool:
        return self._server in FakeServer.running

    @property
    def has_new_frame(self) -> bool:
        return self._server.number > self._seen

    @property
    def new_frame_image(self) -> Any:
        self._seen = self._server.number
        return self._server.shown

    def stop(self) -> None:
        pass


@dataclass
class FakeSyphon:
    """The part of syphon-python 0.2.0 that is used."""

    SyphonMetalServer: Any = FakeServer
    SyphonMetalClient: Any = FakeClient
    SyphonServerDirectory: Any = FakeDirectory
    made: list[FakeTexture] = field(default_factory=list)

    def create_mtl_texture(self, device: str, width: int, height: int) -> FakeTexture:
        self.made.append(FakeTexture(device, width, height))
        return self.made[-1]

    @staticmethod
    def copy_image_to_mtl_texture(image: Any, texture: FakeTexture) -> None:
        assert image.shape == (texture.height, texture.width, 4)
        texture.rgba = image.copy()

    @staticmethod
    def copy_mtl_texture_to_image(rgba: Any) -> Any:
        return rgba[..., [2, 1, 0, 3]]  # textures of a client are BGRA

    @staticmethod
    def autorelease_pool() -> Any:
        return nullcontext()


@pytest.fixture(params=["spout", "syphon"])
def kind(request: pytest.FixtureRequest, monkeypatch: pytest.MonkeyPatch) -> str:
    """The system with its package, and no other program."""
    system = {"spout": "win32", "syphon": "darwin"}[request.param]
    monkeypatch.setattr(picture_sharing, "PLATFORM", system)
    monkeypatch.setattr(syphon, "FIND_S", 0.0)
    monkeypatch.setattr(FakeSpout, "senders", {})
    monkeypatch.setattr(FakeServer, "running", [])
    spout, library = FakeSpout("SpoutGL"), FakeSyphon()
    for name in ("SpoutGL", "SpoutGL.enums"):
        monkeypatch.setitem(sys.modules, name, spout)
    for name in ("objc", "syphon", "syphon.utils", "syphon.utils.raw", "syphon.utils.numpy"):
        monkeypatch.setitem(sys.modules, name, library)
    return str(request.param)


def written(sink: Sink, rgb: RGB, kind: str) -> None:
    """Write a frame, and wait until other programs see it."""
    before = [one.number for one in FakeSpout.senders.values()]
    sink.write(frame(rgb))
    if kind == "spout":
        until(lambda: [one.number for one in FakeSpout.senders.values()] != before)


def test_what_is_sent_is_received(kind: str) -> None:
    sink = open_sinks([f"{kind}:painting"], options())
    assert sink.name.endswith("painting") and sink.main_thread == (kind == "syphon")
    written(sink, picture(7), kind)
    source = open_source(f"{kind}:paint")
    frames = source.frames()
    first = next(frames)
    assert (first.rgb == picture(7)).all(), "upright, with its colours"
    assert (source.info.width, source.info.height) == (64, 48)
    assert source.info.name == ("Spout painting" if kind == "spout" else "Syphon Studio (painting)")
    written(sink, picture(9, (32, 40)), kind)
    assert (next(one.rgb for one in frames if one.rgb.shape == (32, 40, 3)) == picture(9, (32, 40))).all()
    sink.close(completed=True)
    sink.close(completed=True)
    assert "is gone" in next(one.notice for one in frames if one.notice)
    again = open_sinks([f"{kind}:painting"], options())
    written(again, picture(11), kind)
    assert next(one.rgb[-1, -1, 0] for one in frames if not one.notice) == 11
    source.close()
    again.close(completed=True)
    assert kind == "spout" or FakeDirectory.answered >= 3


def test_a_pause_shows_the_slate(kind: str) -> None:
    sink = open_sinks([kind], options(lambda: True))
    written(sink, picture(90), kind)
    source = open_source(kind)
    assert (next(source.frames()).rgb == paused_slate(picture(90))).all()
    source.close()
    sink.close(completed=True)


def test_a_name_that_is_not_there_names_those_that_are(kind: str) -> None:
    with pytest.raises(SourceError, match=r"was found.*start the program that sends"):
        open_source(kind)
    sinks = [open_sinks([f"{kind}:{name}"], options()) for name in ("one", "other")]
    for sink in sinks:
        sink.write(frame(picture()))
    until(lambda: kind == "syphon" or len(FakeSpout.senders) == 2)
    with pytest.raises(SourceError, match=r"is called 'third'.*there are: .*one.*other"):
        open_source(f"{kind}:third")
    with pytest.raises(SourceError, match=rf"there are several.*choose one: {kind}:"):
        open_source(kind)
    for sink in sinks:
        sink.close(completed=True)


@pytest.mark.parametrize("kind", ["spout"], indirect=True)
def test_a_machine_without_opengl(kind: str, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(FakeSpout, "takes", False)
    sink = open_sinks([kind], options())
    with pytest.raises(SinkError, match="takes no pictures"):
        until(lambda: not sink.write(frame(picture())))
    sink.close(completed=False)
    monkeypatch.setattr(FakeSpout, "opengl", False)
    with pytest.raises(SinkError, match="needs OpenGL"):
        open_sinks([kind], options())


@pytest.mark.parametrize(
    ("prefix", "package"), [("ndi", "cyndilib"), ("spout", "SpoutGL"), ("syphon", "syphon-python")]
)
def test_what_is_missing_is_said_before_anything_starts(
    prefix: str, package: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    sharing = picture_sharing.SHARINGS[prefix]
    monkeypatch.setattr(picture_sharing, "PLATFORM", sharing.system or "linux")
    for name in [one for one in sys.modules if one.partition(".")[0] == sharing.module]:
        monkeypatch.delitem(sys.modules, name)
    monkeypatch.setitem(sys.modules, sharing.module, None)
    line = re.escape(f"{sharing.name} needs {sharing.package} ({pip_install(prefix)})")
    with pytest.raises(SinkError, match=line):
        check_sinks([prefix], source="pattern", overwrite=False)
    with pytest.raises(SourceError, match=line):
        open_source(f"{prefix}:any")


@pytest.mark.parametrize(("prefix", "system"), [("spout", "Windows"), ("syphon", "macOS")])
def test_another_system_costs_a_line(prefix: str, system: str, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(picture_sharing, "PLATFORM", "linux")
    with pytest.raises(SinkError, match=f"exists on {system} only.*NDI elsewhere"):
        check_sinks([f"{prefix}:any"], source="pattern", overwrite=False)
    with pytest.raises(SourceError, match=f"exists on {system} only"):
        open_source(prefix)


def test_texts_and_names() -> None:
    for text in ("ndi", "ndi:STUDIO (cam)", "ndi://STUDIO (cam)"):
        assert prefix_of(text) == kind_of(text) == "ndi"
    assert [name_in(text) for text in ("ndi", "ndi:", "ndi: a ", "ndi://A (b:c)")] == ["", "", "a", "A (b:c)"]
    assert prefix_of("ndi.mp4") == prefix_of("window") == ""
    names = ["STUDIO (cam)", "STUDIO (cam 2)", "LAPTOP (Desk)"]
    for wanted, found in (("studio (CAM)", names[0]), ("cam", names[0]), ("cam 2", names[1]), ("desk", names[2])):
        assert only_match("ndi", wanted, names) == found
    with pytest.raises(SourceError, match="several NDI sources match 'studio'"):
        only_match("ndi", "studio", names)
    assert only_match("ndi", "", names[:1]) == names[0]


class Still:
    """A receiver of one picture, or of none."""

    fps = Fraction(0)

    def __init__(self, *pictures: RGB) -> None:
        self.pictures, self.closed = list(pictures), 0

    def poll(self) -> Received | None:
        return Received(self.pictures.pop(0)) if self.pictures else None

    def close(self) -> None:
        self.closed += 1


def test_a_receiver_is_closed_once_whoever_ends_it() -> None:
    silent = Still()
    with pytest.raises(SourceError, match=r"X sent no picture within 0\.05 s"):
        PolledSource("X", silent, first_s=0.05)
    unread, read = Still(picture()), Still(picture(), picture(1))
    for source in (PolledSource("X", unread), PolledSource("X", read)):
        if source.info and source._receiver is read:
            frames = source.frames()
            assert [one.index for one in islice(frames, 2)] == [0, 1]
            source.close()
            assert next(frames, None) is None
        source.close()
    assert silent.closed == unread.closed == read.closed == 1
