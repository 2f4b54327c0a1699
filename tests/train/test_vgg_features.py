"""Feature networks: downloads are trusted by their hash alone, features are what the formulas say."""

from __future__ import annotations

import hashlib
import logging
import threading
from collections.abc import Iterator
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path

import pytest
import torch
import torch.nn.functional as F
from safetensors.torch import load_file, save_file

from engines.cache_dirs import cache_folder
from engines.errors import TrainError
from train.data.pictures import picture_files, read_picture, to_tensor
from train.losses import vgg_features
from train.losses.vgg_features import DISTILLED, TAPS, WIDE, Download, Vgg19, fetch, load_features

# http.client leaves the socket of an answer that is not HTTP to the garbage collector.
pytestmark = pytest.mark.filterwarnings("ignore::pytest.PytestUnraisableExceptionWarning")

BODY = bytes(range(256)) * 1000
HASH = hashlib.sha256(BODY).hexdigest()


class Handler(BaseHTTPRequestHandler):
    """Serves a whole file, one cut short, an error, and something that is not HTTP."""

    def do_GET(self) -> None:  # the name that the base class calls
        if self.path == "/rubbish":
            self.wfile.write(b"this is not HTTP\r\n\r\n")
            return
        self.send_response(404 if self.path == "/missing" else 200)
        self.send_header("Content-Length", str(len(BODY)))
        self.end_headers()
        self.wfile.write(BODY[: len(BODY) // 2] if self.path == "/cut" else BODY)

    def log_message(self, format: str, *args: object) -> None:  # noqa: A002  # the base class names it so
        """Keep quiet."""


@pytest.fixture
def server() -> Iterator[str]:
    """Address of a server on this machine."""
    with ThreadingHTTPServer(("127.0.0.1", 0), Handler) as http:
        thread = threading.Thread(target=http.serve_forever, kwargs={"poll_interval": 0.01})
        thread.start()
        yield f"http://127.0.0.1:{http.server_address[1]}"
        http.shutdown()
        thread.join()


def test_the_right_file_is_kept_and_logged(server: str, tmp_path: Path, caplog: pytest.LogCaptureFixture) -> None:
    caplog.set_level(logging.INFO, "train")
    folder = tmp_path / "new" / "cache"
    path = fetch(Download(f"{server}/whole", "net.pth", HASH), folder)
    assert path.read_bytes() == BODY
    assert [p.name for p in folder.iterdir()] == ["net.pth"]
    assert caplog.messages == [f"downloading 0 MB of net.pth to {folder} …"]


def test_a_file_that_is_there_is_not_fetched_again(tmp_path: Path) -> None:
    (tmp_path / "net.pth").write_bytes(BODY)
    assert fetch(Download("http://127.0.0.1:1/nothing", "net.pth", HASH), tmp_path).read_bytes() == BODY


@pytest.mark.parametrize(
    ("place", "sha256"), [("whole", "0" * 64), ("cut", HASH), ("missing", HASH), ("rubbish", HASH)]
)
def test_anything_else_is_refused_and_nothing_kept(server: str, tmp_path: Path, place: str, sha256: str) -> None:
    with pytest.raises(TrainError, match=place) as caught:
        fetch(Download(f"{server}/{place}", "net.pth", sha256), tmp_path)
    assert caught.value.hint
    assert list(tmp_path.iterdir()) == []


def test_without_a_server_the_message_says_where_to_put_the_file(tmp_path: Path) -> None:
    with pytest.raises(TrainError, match="cannot download") as caught:
        fetch(Download("http://127.0.0.1:1/net.pth", "net.pth", HASH), tmp_path)
    assert str(tmp_path / "net.pth") in caught.value.hint and "--features" in caught.value.hint


def test_a_kept_file_that_changed_is_refused(tmp_path: Path) -> None:
    (tmp_path / "net.pth").write_bytes(b"altered")
    with pytest.raises(TrainError, match="wrong hash"):
        fetch(Download("http://127.0.0.1:1/nothing", "net.pth", HASH), tmp_path)


def test_whole_vgg19_is_downloaded_and_used(
    server: str, tmp_path: Path, narrow_features: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    tensors = {name: x for name, x in load_file(narrow_features / DISTILLED).items() if not name.startswith("aux")}
    torch.save(tensors, tmp_path / "net.pth")
    whole = (tmp_path / "net.pth").read_bytes()
    monkeypatch.setitem(Handler.do_GET.__globals__, "BODY", whole)
    monkeypatch.setattr(
        vgg_features, "VGG19", Download(f"{server}/whole", "vgg.pth", hashlib.sha256(whole).hexdigest())
    )
    monkeypatch.setenv("RTSTYLE_FEATURES", str(tmp_path / "cache"))
    loaded = load_features()
    assert (tmp_path / "cache" / "vgg.pth").exists()
    assert loaded.content(torch.rand(1, 3, 64, 64)).shape == (1, 12, 8, 8)


def test_the_cache_follows_the_environment(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delenv("RTSTYLE_FEATURES", raising=False)
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path))
    assert cache_folder("features") == tmp_path / "rtstyle" / "features"
    monkeypatch.setenv("RTSTYLE_FEATURES", "elsewhere")
    assert cache_folder("features") == Path("elsewhere")


def test_a_damaged_network_is_told_by_name(narrow_features: Path, tmp_path: Path) -> None:
    for name in (WIDE, DISTILLED):
        (tmp_path / name).write_bytes((narrow_features / name).read_bytes())
    for damaged in ((tmp_path / WIDE).read_bytes()[:-100], b"rubbish"):
        (tmp_path / WIDE).write_bytes(damaged)
        with pytest.raises(TrainError, match=WIDE) as caught:
            load_features(tmp_path)
        assert caught.value.hint
    save_file({"other": torch.zeros(1)}, tmp_path / WIDE)
    with pytest.raises(TrainError, match=r"features\.0\.weight is missing"):
        load_features(tmp_path)


@pytest.mark.parametrize("value", [float("nan"), float("inf"), -65000.0])
def test_damaged_values_of_the_right_shape_are_told_by_name(
    narrow_features: Path, tmp_path: Path, value: float
) -> None:
    for file in narrow_features.iterdir():
        tensors = {name: tensor.half() for name, tensor in load_file(file).items()}
        tensors["features.7.weight"][3, 2, 1, 0] = value
        save_file(tensors, tmp_path / file.name)
    with pytest.raises(TrainError, match=r"is damaged: features\.7\.weight") as caught:
        load_features(tmp_path)
    assert WIDE in caught.value.problem and caught.value.hint


@pytest.mark.parametrize(("there", "lacks"), [(WIDE, DISTILLED), (DISTILLED, WIDE)])
def test_one_small_file_alone_names_the_other(narrow_features: Path, tmp_path: Path, there: str, lacks: str) -> None:
    (tmp_path / there).write_bytes((narrow_features / there).read_bytes())
    with pytest.raises(TrainError, match=f"lacks {lacks}") as caught:
        load_features(tmp_path)
    assert "575 MB" in caught.value.hint
    (tmp_path / vgg_features.VGG19.name).write_bytes(b"")
    assert vgg_features.network_files(tmp_path) == (tmp_path / vgg_features.VGG19.name,) * 2


def test_what_a_given_folder_lacks_is_told_before_the_download(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    caplog.set_level(logging.INFO, "train")
    monkeypatch.setattr(vgg_features, "VGG19", Download("http://127.0.0.1:1/net.pth", "net.pth", HASH))
    with pytest.raises(TrainError, match="cannot download"):
        load_features(tmp_path)
    assert caplog.messages == [f"{tmp_path} has neither {WIDE} and {DISTILLED} nor net.pth"]
    (tmp_path / "file").write_bytes(b"")
    with pytest.raises(TrainError, match="is a file"):
        load_features(tmp_path / "file")


@pytest.mark.parametrize(("name", "shape"), [("weight", (8, 5, 3, 3)), ("weight", (8, 6, 1, 1)), ("bias", (9,))])
def test_a_network_of_another_shape_is_told_by_name(
    narrow_features: Path, tmp_path: Path, name: str, shape: tuple[int, ...]
) -> None:
    for file in narrow_features.iterdir():
        tensors = load_file(file) | {f"features.5.{name}": torch.zeros(shape)}
        save_file(tensors, tmp_path / file.name)
    with pytest.raises(TrainError, match=r"features\.5\.weight has shape"):
        load_features(tmp_path)


@pytest.mark.parametrize(
    ("changed", "told"),
    [
        ({"aux.19.weight": None}, r"aux\.19\.weight is missing"),
        ({"aux.19.bias": None}, r"aux\.19\.bias is missing"),
        ({"aux.19.weight": torch.zeros(16, 11, 1, 1)}, r"aux\.19\.weight has shape \[16, 11, 1, 1\]"),
        ({"aux.19.bias": torch.zeros(15)}, r"aux\.19\.bias has shape \[15\]"),
        ({"features.12.weight": None}, r"features\.12\.weight is missing"),
    ],
)
def test_the_head_of_the_distilled_network_is_checked(
    narrow_features: Path, tmp_path: Path, changed: dict[str, torch.Tensor | None], told: str
) -> None:
    """Without it the network would do something else, or fail in the first step."""
    (tmp_path / WIDE).write_bytes((narrow_features / WIDE).read_bytes())
    tensors = load_file(narrow_features / DISTILLED) | changed
    save_file({name: value for name, value in tensors.items() if value is not None}, tmp_path / DISTILLED)
    with pytest.raises(TrainError, match=told) as caught:
        load_features(tmp_path)
    assert DISTILLED in caught.value.problem and caught.value.hint


def test_features_halve_the_size_at_each_pool(narrow_features: Path) -> None:
    loaded = load_features(narrow_features)
    x = torch.rand(2, 3, 64, 96)
    assert [tuple(f.shape) for f in loaded.style(x)] == [(2, 6, 64, 96), (2, 8, 32, 48), (2, 10, 16, 24)]
    assert tuple(loaded.content(x).shape) == (2, 16, 8, 12)
    assert all(float(f.min()) >= 0 for f in [*loaded.style(x), loaded.content(x)])
    assert not list(loaded.parameters()), "the networks are fixed"


def test_the_first_layer_is_a_reflected_convolution(narrow_features: Path) -> None:
    tensors = load_file(narrow_features / WIDE)
    x = torch.rand(1, 3, 16, 16)
    normal = (x - torch.tensor(vgg_features.MEAN).view(1, 3, 1, 1)) / torch.tensor(vgg_features.STD).view(1, 3, 1, 1)
    padded = F.pad(normal, (1, 1, 1, 1), mode="reflect")
    expected = F.relu(F.conv2d(padded, tensors["features.0.weight"], tensors["features.0.bias"]))
    assert torch.allclose(Vgg19(tensors, ["relu1_1"])(x)[0], expected, atol=1e-5)


def test_the_given_networks_are_what_they_say(data_dir: Path) -> None:
    """Full widths, and the wide network normalised: a mean activation of about 1 for every channel."""
    loaded = load_features(data_dir / "features")
    wide = load_file(data_dir / "features" / WIDE)
    assert [wide[f"features.{TAPS[tap]}.weight"].shape[0] for tap in ("relu1_1", "relu2_1", "relu3_1")] == [
        64,
        128,
        256,
    ]
    x = to_tensor(read_picture(picture_files(data_dir / "content")[0]))
    for feature in loaded.style(x):
        assert 0.3 < float(feature.mean()) < 3.0
    assert loaded.content(x).shape[1] == 512


def test_a_file_in_place_of_the_folder_is_told(tmp_path: Path) -> None:
    (tmp_path / "features").write_text("no folder")
    with pytest.raises(TrainError, match="cannot download"):
        fetch(Download("http://127.0.0.1:9/whole", "net.pth", HASH), tmp_path / "features")
