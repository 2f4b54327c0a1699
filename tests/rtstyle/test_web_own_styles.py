"""Styles that visitors let the server learn: real trainings of a few steps, with tiny networks."""

from __future__ import annotations

import asyncio
import json
import os
import signal
import subprocess
import sys
import tempfile
import urllib.request
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager
from io import BytesIO
from pathlib import Path
from typing import Any

import numpy as np
import pytest

pytest.importorskip("aiohttp")
pytest.importorskip("aiortc")
pytest.importorskip("torch")
pytest.importorskip("onnxscript")

from aiohttp import ClientSession

from engines.errors import StyleError
from engines.style_file import StyleModel
from rtstyle import shelf
from rtstyle.commands.options import load_engine
from rtstyle.controls import Controls
from rtstyle.media.image_files import encode_picture
from rtstyle.web.rooms import Rooms, WebSettings
from rtstyle.web.server import Server
from rtstyle.web.training import routes
from rtstyle.web.training.names import title_of, unique_name
from rtstyle.web.training.painting import prepare_painting
from rtstyle.web.training.routes import OwnStyles
from rtstyle.web.training.run import TrainingSettings
from tests.rtstyle.browsers import Browser, Camera, in_loop
from tests.rtstyle.paintings import painting, tiny_training
from tests.train.features import write_features

pytestmark = pytest.mark.real_time

ENDED = ("done", "failed", "stopped")


@pytest.fixture(autouse=True)
def home(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """An empty shelf, small feature networks, and a folder of one's own for temporary files."""
    monkeypatch.setenv("RTSTYLE_STYLES", str(tmp_path / "styles"))
    monkeypatch.setenv("RTSTYLE_FEATURES", str(write_features(tmp_path / "features")))
    (tmp_path / "scratch").mkdir()
    monkeypatch.setattr(tempfile, "tempdir", str(tmp_path / "scratch"))
    return tmp_path / "styles"


class Visitor:
    """What the page's script does with styles."""

    def __init__(self, session: ClientSession, address: str, rooms: Rooms) -> None:
        self.session, self.address, self.rooms = session, address, rooms

    async def learn(self, data: bytes, content_type: str = "image/png", **query: str) -> tuple[int, dict[str, Any]]:
        query = {"file": "wave at sea.png", **query}
        call = self.session.post(
            f"{self.address}/styles", params=query, data=BytesIO(data), headers={"Content-Type": content_type}
        )
        async with call as answer:
            return answer.status, await answer.json()

    async def state(self) -> dict[str, Any]:
        async with self.session.get(f"{self.address}/styles/training") as answer:
            return dict(await answer.json())

    async def until(self, *states: str) -> dict[str, Any]:
        async with asyncio.timeout(120):
            while (state := await self.state())["state"] not in states:
                await asyncio.sleep(0.1)
        return state

    async def names(self) -> list[str]:
        async with self.session.get(f"{self.address}/styles") as answer:
            return [entry["name"] for entry in (await answer.json())["entries"]]

    async def rename(self, name: str, title: str) -> tuple[int, dict[str, Any]]:
        async with self.session.patch(f"{self.address}/styles/{name}", params={"title": title}) as answer:
            return answer.status, await answer.json()

    async def delete(self, path: str) -> tuple[int, dict[str, Any]]:
        async with self.session.delete(f"{self.address}/styles/{path}") as answer:
            return answer.status, await answer.json()


@asynccontextmanager
async def hosting(steps: int = 3, token: str = "", **settings: Any) -> AsyncIterator[Visitor]:
    """A server that learns styles, on a free port."""

    def load(style: str) -> Any:
        return load_engine(style, "cpu", 1, shared=True)

    rooms = Rooms(WebSettings(port=0, token=token, style="wave"), load)
    own = OwnStyles(rooms, TrainingSettings(steps, tiny_training(), snapshot_s=0.3, **settings))
    server = Server(rooms, own_styles=own)
    await server.start()
    headers = {"Authorization": f"Bearer {token}"} if token else {}
    try:
        async with ClientSession(headers=headers) as session:
            yield Visitor(session, f"http://127.0.0.1:{server.port}", rooms)
    finally:
        await server.close()


def test_a_style_is_learned_watched_used_downloaded_and_removed(home: Path) -> None:
    async def learned() -> None:
        async with hosting(steps=25) as visitor:
            browser = Browser(visitor.address, Camera())
            await browser.connect()
            await browser.until(lambda: browser.messages, 60)
            assert (await visitor.state())["state"] == "idle"
            status, begun = await visitor.learn(painting())
            assert status == 201 and begun["title"] == "wave at sea" and begun["name"] == "wave-at-sea"
            assert (await visitor.learn(painting()))[0] == 409, "one at a time"
            running = await visitor.until("running", *ENDED)
            assert running["unfinished"] and 0 < running["percent"] < 100, running
            browser.channel.send(json.dumps({"style": running["unfinished"]}))
            await browser.until(lambda: browser.messages[-1].get("style") == running["unfinished"], 60)
            done = await visitor.until(*ENDED)
            assert (done["state"], done["percent"], done["unfinished"]) == ("done", 100.0, None), done
            # Whoever saw the unfinished style sees the finished one.
            await browser.until(lambda: browser.messages[-1].get("style") == "wave-at-sea", 60)
            assert not browser.messages[-1].get("fault")
            await visitor.rename("wave-at-sea", "Wave")  # a name of the gallery
            await browser.until(lambda: browser.messages[-1].get("style") == "wave-2", 60)
            assert not browser.messages[-1].get("fault")
            assert (await visitor.rename("wave-2", "Wave at sea"))[1]["renamed"] == "wave-at-sea"
            await browser.close()
            assert list(shelf.own_styles()) == ["wave-at-sea"] and "wave-at-sea" in await visitor.names()
            assert not list(Path(tempfile.gettempdir()).iterdir()), "nothing is left behind"
            async with visitor.session.get(f"{visitor.address}/styles/wave-at-sea.rtstyle") as answer:
                assert answer.status == 200 and "wave-at-sea.rtstyle" in answer.headers["Content-Disposition"]
                pack = home.parent / "pack.rtstyle"
                pack.write_bytes(await answer.read())
            assert shelf.unpack(pack).keys() >= set(shelf.NEEDED)
            assert (await visitor.delete("wave"))[0] == 404, "it comes with rtstyle"
            assert (await visitor.delete("wave-at-sea"))[0] == 200
            assert not shelf.own_styles() and "wave-at-sea" not in await visitor.names()

    asyncio.run(learned())


def test_a_training_that_is_stopped_or_outlived_leaves_nothing(home: Path) -> None:
    async def stopped() -> None:
        async with hosting(steps=100_000) as visitor:
            assert (await visitor.learn(painting(), title="Mine"))[0] == 201
            await visitor.until("running", *ENDED)
            assert (await visitor.delete("training"))[1]["state"] == "stopped"
            assert not list(Path(tempfile.gettempdir()).iterdir())
            assert (await visitor.learn(painting(), title="Mine"))[0] == 201, "there may be another one"
            pids = _trainings()
            assert pids and all(os.getpriority(os.PRIO_PROCESS, pid) == 19 for pid in pids)
        assert not list(Path(tempfile.gettempdir()).iterdir()), "the server has ended"
        assert not _trainings() and not shelf.own_styles()

    asyncio.run(stopped())


@pytest.mark.skipif(os.name != "posix", reason="SIGKILL")
def test_a_server_that_is_killed_takes_its_training_with_it(home: Path, tmp_path: Path) -> None:
    command = [sys.executable, "-m", "rtstyle", "web", "--port", "0", "--engine", "cpu", "--threads", "1"]
    environment = {**os.environ, "TMPDIR": str(tmp_path / "scratch")}
    with subprocess.Popen(command, stderr=subprocess.PIPE, text=True, env=environment) as server:
        assert server.stderr is not None
        address = server.stderr.readline().split("the page is at ")[1].strip()
        request = urllib.request.Request(f"{address}styles?file=a.png", painting(), {"Content-Type": "image/png"})
        with urllib.request.urlopen(request, timeout=60) as answer:
            assert answer.status == 201
        asyncio.run(_until(_trainings))
        server.send_signal(signal.SIGKILL)
    asyncio.run(_until(lambda: not _trainings() and not list((tmp_path / "scratch").glob("rtstyle-training-*"))))
    assert not shelf.own_styles()


async def _until(true: Callable[[], object]) -> None:
    async with asyncio.timeout(30):
        while not true():
            await asyncio.sleep(0.1)


def _trainings() -> list[int]:
    """The processes that learn from a painting in the folder of this test."""
    call = ["pgrep", "-f", f"{tempfile.gettempdir()}.*painting.png"]
    return [int(line) for line in subprocess.run(call, capture_output=True, text=True, check=False).stdout.split()]


@in_loop
async def test_pictures_that_cannot_be_learned_from_are_refused_in_a_line() -> None:
    async with hosting() as visitor:
        small = encode_picture(Path("a.png"), np.zeros((40, 40, 3), np.uint8))
        grey = encode_picture(Path("a.jpg"), np.full((400, 500, 3), 90, np.uint8))
        status, said = await visitor.learn(small)
        assert (status, said["error"]) == (422, "the painting has 40×40 pixels") and "200" in said["hint"]
        status, said = await visitor.learn(grey, content_type="image/jpeg")
        assert (status, said["error"]) == (422, "the painting has one colour only")
        status, said = await visitor.learn(b"no picture at all")
        assert (status, said["error"]) == (422, "wave at sea.png is not a picture, or is damaged")
        assert (await visitor.learn(b""))[1]["error"] == "the picture is empty"
        status, said = await visitor.learn(b"\0" * 20_000_001)
        assert (status, said["error"]) == (413, "the picture has 20.0 MB")
        assert (await visitor.learn(painting(), content_type="text/plain"))[0] == 415
        assert (await visitor.state())["state"] == "failed" and not shelf.own_styles()
        assert not list(Path(tempfile.gettempdir()).iterdir())


@in_loop
async def test_a_training_that_fails_says_why(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("RTSTYLE_FEATURES", os.devnull)
    async with hosting() as visitor:
        assert (await visitor.learn(painting()))[0] == 201
        failed = await visitor.until(*ENDED)
        assert failed["state"] == "failed" and "cannot" in failed["problem"], failed
        assert not shelf.own_styles()


@in_loop
async def test_the_shelf_has_room_for_so_many() -> None:
    async with hosting(most_styles=0) as visitor:
        status, said = await visitor.learn(painting())
        assert (status, said["error"]) == (409, "there are 0 styles of your own already")


@in_loop
async def test_only_who_has_the_token_may_learn_and_download() -> None:
    async with hosting(token="a long token") as visitor, ClientSession() as stranger:
        for method, path in (
            ("POST", "styles"), ("GET", "styles/training"), ("DELETE", "styles/training"), ("DELETE", "styles/wave"),
            ("PATCH", "styles/wave"),
            ("GET", "styles/wave.rtstyle"),
        ):  # fmt: skip
            async with stranger.request(method, f"{visitor.address}/{path}") as answer:
                assert answer.status == 401, (method, path)
        async with visitor.session.get(f"{visitor.address}/styles/wave.rtstyle") as answer:
            assert answer.status == 404, "it comes with rtstyle"


@in_loop
async def test_a_server_without_training_has_no_such_addresses() -> None:
    server = Server(Rooms(WebSettings(port=0), lambda _: pytest.fail("no engine is needed")))
    await server.start()
    try:
        async with ClientSession() as session:
            address = f"http://127.0.0.1:{server.port}/styles"
            async with session.get(address) as answer:
                assert (await answer.json())["training"] is None
            async with session.post(address, json={}) as answer:
                assert answer.status == 405
    finally:
        await server.close()


@in_loop
async def test_a_missing_extra_is_told(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(routes, "missing_packages", lambda: "learning a style needs torch: pip install it")
    async with hosting() as visitor:
        status, said = await visitor.learn(painting())
        assert (status, said) == (501, {"error": "learning a style needs torch", "hint": "pip install it"})
        assert (await visitor.state())["missing"]


@in_loop
async def test_own_styles_are_renamed(tiny_style: Path) -> None:
    files = shelf.read_folder(tiny_style)
    for name in ("sea", "lake"):
        shelf.add(files, {}, name)
    async with hosting() as visitor:
        assert (await visitor.rename("sea", " Café\n d'été "))[1]["renamed"] == "cafe-d-ete"
        assert StyleModel.open(shelf.own_styles()["cafe-d-ete"]).title == "Café d'été"
        assert (await visitor.rename("cafe-d-ete", "Café d'Été"))[1]["renamed"] == "cafe-d-ete", "only the title"
        assert StyleModel.open(shelf.own_styles()["cafe-d-ete"]).title == "Café d'Été"
        assert (await visitor.rename("lake", "Training"))[1]["renamed"] == "training-2", "an address of the page"
        assert (await visitor.rename("training-2", " "))[1]["error"] == "the new name is empty"
        assert (await visitor.rename("wave", "Mine"))[0] == 404, "it comes with rtstyle"
        (shelf.home() / "training-2" / "style.json").write_text("{")
        assert (await visitor.rename("training-2", "Mine"))[0] == 409


@in_loop
async def test_styles_that_others_add_are_seen(tiny_style: Path) -> None:
    """By `rtstyle styles add` while the server runs: the page asks for the state, and sees another revision."""
    async with hosting() as visitor:
        first = (await visitor.state())["revision"]
        assert (await visitor.state())["revision"] == first
        shelf.add(shelf.read_folder(tiny_style), {}, "sea")
        second = (await visitor.state())["revision"]
        assert second != first and "sea" in await visitor.names()
        shelf.rename("sea", "lake", {})
        assert "lake" in await visitor.names() and (await visitor.state())["revision"] not in (first, second)
        (shelf.home() / "lake" / "preview.jpg").unlink()
        manifest = shelf.home() / "lake" / "style.json"
        manifest.write_text(tiny_style.joinpath("style.json").read_text().replace('"tiny"', '"lake"'))
        async with visitor.session.get(f"{visitor.address}/styles") as answer:
            entry = (await answer.json())["entries"][-1]
        assert entry["name"] == "lake" and entry["own"] and "preview" not in entry, "the page shows no broken picture"


def test_names_are_unique_and_titles_plain() -> None:
    assert title_of("", "/tmp/my_wave.JPG") == "my wave"
    assert title_of("  Sea\n at\tnight ", "x.png") == "Sea at night"
    assert unique_name("Café  d'été!", {"wave"}) == ("cafe-d-ete", "Café  d'été!")
    assert unique_name("Wave", {"wave", "wave-2"}) == ("wave-3", "Wave 3")
    assert unique_name("夜", set()) == ("my-style", "夜")
    assert len(unique_name("x" * 500, set())[0]) <= 64


def test_a_large_painting_is_reduced_and_a_narrow_one_refused(tmp_path: Path) -> None:
    from engines.errors import SourceError
    from rtstyle.media.image_files import read_picture

    upload, target = tmp_path / "upload", tmp_path / "painting.png"
    upload.write_bytes(painting(1504, 3008))
    assert prepare_painting(upload, target) == (3008, 1504)
    assert read_picture(target)[0].shape == (1024, 2048, 3)
    upload.write_bytes(painting(200, 2000))
    with pytest.raises(SourceError, match="too narrow"):
        prepare_painting(upload, target)
    from PIL import Image

    Image.new("1", (9000, 9000)).save(upload, "PNG")
    with pytest.raises(SourceError, match="too large, 9000×9000"):
        prepare_painting(upload, target)


def test_controls_offer_other_styles() -> None:
    controls = Controls(styles=("wave", "mine", "scream"), style="mine", playlist=("wave", "mine", "scream"))
    controls.offer(("wave", "scream", "new"), "wave")
    assert (controls.style, controls.styles) == ("wave", ("wave", "scream", "new"))
    assert controls.playlist == ("wave", "scream")
    controls.style = "scream:0.5+new:0.5"
    controls.offer(("wave", "new"), "new")
    assert (controls.style, controls.place, controls.playlist) == ("new", 1, ())
    with pytest.raises(StyleError):
        controls.style = "scream"
