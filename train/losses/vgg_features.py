"""Pretrained feature networks: where they come from, and the features the losses and figures are made of."""

from __future__ import annotations

import hashlib
import http.client
import os
import sys
import urllib.request
from collections.abc import Collection, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

import torch
import torch.nn.functional as F
from safetensors import SafetensorError
from safetensors.torch import load_file
from torch import Tensor, nn

from engines.atomic_write import atomic_write
from engines.errors import TrainError
from engines.style_file import sha256

MEAN, STD = (0.485, 0.456, 0.406), (0.229, 0.224, 0.225)
VGG19_CONVS = (0, 2, 5, 7, 10, 12, 14, 16, 19, 21, 23, 25, 28)
"""torchvision's indices of the convolutions conv1_1 … conv5_1."""

POOLED = frozenset({5, 10, 19, 28})
"""Convolutions that follow a 2×2 max pool."""

TAPS = {"relu1_1": 0, "relu2_1": 5, "relu2_2": 7, "relu3_1": 10, "relu4_1": 19, "relu5_1": 28}


@dataclass(frozen=True)
class Download:
    """A file that can be fetched and is trusted by its hash alone.

    Attributes:
        url: where it is.
        name: file name in the features folder.
        sha256: of the whole file.
    """

    url: str
    name: str
    sha256: str


VGG19 = Download(
    url="https://download.pytorch.org/models/vgg19-dcbb9e9d.pth",
    name="vgg19-dcbb9e9d.pth",
    sha256="dcbb9e9dad569fff7a846263a77324fc34978fea2bfb039c012d710e1776ae44",
)
"""torchvision's VGG19 (Simonyan and Zisserman 2014, arXiv:1409.1556), CC-BY 4.0, 575 MB."""

WIDE = "vgg19_normalised_relu3_1_fp16.safetensors"
DISTILLED = "vgg19_16x_relu4_1_fp16.safetensors"

LARGEST = 100.0
"""No weight of a network that pictures are compared by is larger; a flipped bit of an exponent makes larger ones."""

_ANOTHER = "take an undamaged copy; or delete both small files, and torchvision's VGG19 is downloaded instead (575 MB)"


def cache_folder() -> Path:
    """Where downloads are kept: ``$RTSTYLE_FEATURES``, or below the user's cache folder."""
    given = os.environ.get("RTSTYLE_FEATURES")
    if given:
        return Path(given)
    root = os.environ.get("XDG_CACHE_HOME")
    return (Path(root) if root else Path.home() / ".cache") / "rtstyle" / "features"


def fetch(download: Download, folder: Path, timeout_s: float = 30.0) -> Path:
    """Download once, verify, keep; what is downloaded is told on standard error, because it takes minutes.

    Args:
        download: what to fetch.
        folder: where to keep it; made when it is not there.
        timeout_s: longest silence of the server, seconds.

    Returns:
        the verified file.

    Raises:
        TrainError: no network, or the file that arrived has another hash; nothing is kept then.
    """
    target = folder / download.name
    if target.exists():
        if sha256(target) != download.sha256:
            raise TrainError(f"{target} has the wrong hash", hint="delete it; it will be downloaded again")
        return target
    try:
        folder.mkdir(parents=True, exist_ok=True)
        with urllib.request.urlopen(download.url, timeout=timeout_s) as answer, atomic_write(target) as file:  # noqa: S310  # our own URL, pinned by hash
            size = f"{answer.length / 1e6:.0f} MB of " if answer.length else ""
            print(f"downloading {size}{download.name} to {folder} …", file=sys.stderr, flush=True)
            while block := answer.read(1 << 20):
                file.write(block)
            file.seek(0)
            if hashlib.file_digest(file, "sha256").hexdigest() != download.sha256:
                raise TrainError(f"{download.url} sent a file with the wrong hash", hint="try again later")
    except (OSError, http.client.HTTPException) as error:  # URLError is an OSError; BadStatusLine is none
        raise TrainError(
            f"cannot download {download.url}: {error}",
            hint=f"download it elsewhere and put it at {target}, or give --features DIR",
        ) from error
    return target


class Vgg19(nn.Module):
    """VGG19 up to some layer, with reflect padding; fixed weights.

    Args:
        tensors: ``features.N.weight`` and ``.bias``; optional 1×1 heads ``aux.N`` that map a narrow network's
            features to the full width (applied before the ReLU).
        taps: names from ``TAPS`` whose features are returned, in rising order.
        dtype: of the arithmetic; features come back in it.
    """

    def __init__(self, tensors: Mapping[str, Tensor], taps: Sequence[str], dtype: torch.dtype = torch.float32):
        super().__init__()
        self.taps = [TAPS[name] for name in taps]
        self.convs = [index for index in VGG19_CONVS if index <= self.taps[-1]]
        self.dtype = dtype
        for kind, indices in (("features", self.convs), ("aux", self.taps)):
            for index in indices:
                if f"{kind}.{index}.weight" in tensors:
                    for part in ("weight", "bias"):
                        value = tensors[f"{kind}.{index}.{part}"].to(dtype)
                        self.register_buffer(f"{kind}_{index}_{part}", value, persistent=False)
        self.register_buffer("mean", torch.tensor(MEAN).view(1, 3, 1, 1), persistent=False)
        self.register_buffer("std", torch.tensor(STD).view(1, 3, 1, 1), persistent=False)

    def forward(self, x: Tensor, taps: Sequence[str] | None = None) -> list[Tensor]:
        """Compute the features of pictures; nothing beyond the last tap is computed.

        Args:
            x: (N, 3, H, W) in [0, 1].
            taps: names from ``TAPS`` within the network, in rising order; by default those it was made with.

        Returns:
            one tensor (N, C, H / s, W / s) for each tap.
        """
        wanted = self.taps if taps is None else [TAPS[name] for name in taps]
        x = ((x - self.get_buffer("mean")) / self.get_buffer("std")).to(self.dtype)
        found: list[Tensor] = []
        for index in self.convs:
            if len(found) == len(wanted):
                break
            if index in POOLED:
                x = F.max_pool2d(x, 2)
            x = F.pad(x, (1, 1, 1, 1), mode="reflect")
            x = F.conv2d(x, self.get_buffer(f"features_{index}_weight"), self.get_buffer(f"features_{index}_bias"))
            if index in wanted:
                found.append(F.relu(self._head(index, x)))
            x = F.relu(x)
        return found

    def _head(self, index: int, x: Tensor) -> Tensor:
        if not hasattr(self, f"aux_{index}_weight"):
            return x
        weight, bias = self.get_buffer(f"aux_{index}_weight"), self.get_buffer(f"aux_{index}_bias")
        return F.conv2d(F.relu(x), weight, bias)


class Features(nn.Module):
    """The two views of a picture: what it shows (content) and how it is painted (style).

    Args:
        style: network with the taps relu1_1, relu2_1, relu3_1.
        deep: network with the tap relu4_1, which serves content and, as a fourth layer, style.
    """

    def __init__(self, style: Vgg19, deep: Vgg19):
        super().__init__()
        self.style_network, self.deep_network = style, deep

    def content(self, x: Tensor) -> Tensor:
        """relu4_1: (N, 3, H, W) → (N, 512, H / 8, W / 8)."""
        return self.deep_network(x)[-1]  # type: ignore[no-any-return]

    def style(self, x: Tensor) -> list[Tensor]:
        """relu1_1, relu2_1, relu3_1."""
        return self.style_network(x)  # type: ignore[no-any-return]

    def layers(self, x: Tensor, names: Collection[str]) -> dict[str, Tensor]:
        """Features by layer: relu4_1 from the deep network, all others from the style network.

        Args:
            x: (N, 3, H, W) in [0, 1].
            names: from ``TAPS``, up to relu4_1.
        """
        found: dict[str, Tensor] = {}
        shallow = [name for name in TAPS if name in names and name != "relu4_1"]
        if shallow:
            found |= zip(shallow, self.style_network(x, shallow), strict=True)
        if "relu4_1" in names:
            found["relu4_1"] = self.content(x)
        return found


def _tensors(path: Path, last: int, heads: Sequence[int] = ()) -> dict[str, Tensor]:
    """A network up to its convolution ``last``, with 1×1 heads behind some.

    Raises:
        TrainError: it cannot be read, a tensor is missing or has another shape, or a value is damaged.
    """
    try:
        tensors = load_file(path)
    except (OSError, SafetensorError) as error:
        raise TrainError(f"cannot read the feature network {path}: {error}", hint=_ANOTHER) from error
    channels = 3
    for index in (index for index in VGG19_CONVS if index <= last):
        width = _checked(path, tensors, f"features.{index}", channels, 3)
        if index in heads:
            _checked(path, tensors, f"aux.{index}", width, 1)
        channels = width
    check_values(path, tensors)
    return tensors


def check_values(path: Path, tensors: Mapping[str, Tensor], hint: str = _ANOTHER) -> None:
    """Find the damage that a network's shapes do not show: safetensors has no checksum.

    Args:
        path: of the file, for the message.
        tensors: what was read from it.
        hint: what to do about damage.

    Raises:
        TrainError: a value is not finite, or over ``LARGEST``.
    """
    for name, tensor in tensors.items():
        if not bool((tensor.float().abs() <= LARGEST).all()):  # NaN is not, either
            raise TrainError(f"{path} is damaged: {name} holds values that no such network has", hint=hint)


def _checked(path: Path, tensors: Mapping[str, Tensor], name: str, channels: int, kernel: int) -> int:
    """How many channels a convolution gives.

    Raises:
        TrainError: its weight or bias is missing, or it does not take so many channels with such a kernel.
    """
    shapes: dict[str, tuple[int, ...]] = {}
    for part in (f"{name}.weight", f"{name}.bias"):
        if part not in tensors:
            raise TrainError(f"{path.name} is no such feature network: {part} is missing", hint=_ANOTHER)
        shapes[part] = tuple(tensors[part].shape)
    weight, bias = shapes.values()
    width = weight[0] if weight else 0
    if weight != (width, channels, kernel, kernel) or bias != (width,):
        told = ", ".join(f"{part} has shape {list(shape)}" for part, shape in shapes.items())
        raise TrainError(
            f"{path.name} is no such feature network: {told}",
            hint=f"a {kernel}×{kernel} convolution of {channels} channels is expected",
        )
    return width


def network_files(folder: Path) -> tuple[Path, Path] | None:
    """Files of the style network and of the deep one: the two small files, or twice torchvision's whole VGG19.

    Returns:
        ``None`` where the folder has none of them.

    Raises:
        TrainError: it has one of the small files alone.
    """
    small, whole = (folder / WIDE, folder / DISTILLED), folder / VGG19.name
    missing = [file.name for file in small if not file.exists()]
    if not missing:
        return small
    if whole.exists():
        return whole, whole
    if len(missing) < len(small):
        raise TrainError(
            f"{folder} lacks {missing[0]}, the other one of the two small feature networks",
            hint="put it there, too; or take the small file away, and torchvision's VGG19 is used instead (575 MB)",
        )
    return None


def check_folder(folder: Path) -> None:
    """What ``--features`` takes.

    Raises:
        TrainError: no such folder.
    """
    if folder.is_file():
        raise TrainError(f"{folder} is a file", hint=f"--features takes the folder that holds {WIDE} and {DISTILLED}")
    if not folder.is_dir():
        raise TrainError(f"no such folder: {folder}", hint="leave --features away to use the cache")


def load_features(folder: Path | None = None, dtype: torch.dtype = torch.float32) -> Features:
    """The feature networks, from a folder or from the cache, downloaded when they are nowhere.

    A folder may hold the two small files (full-width VGG19 to relu3_1 and a distilled one to relu4_1) or
    torchvision's whole VGG19. What a given folder lacks is told on standard error before it is downloaded.

    Raises:
        TrainError: a file is missing, damaged, or cannot be downloaded.
    """
    if folder is not None:
        check_folder(folder)
        if network_files(folder) is None:
            print(f"{folder} has neither {WIDE} and {DISTILLED} nor {VGG19.name}", file=sys.stderr, flush=True)
    folder = folder or cache_folder()
    if network_files(folder) == (folder / WIDE, folder / DISTILLED):
        wide = _tensors(folder / WIDE, last=TAPS["relu3_1"])
        deep = _tensors(folder / DISTILLED, last=TAPS["relu4_1"], heads=(TAPS["relu4_1"],))
    else:
        whole = torch.load(fetch(VGG19, folder), map_location="cpu", weights_only=True)
        wide = deep = whole
    style = Vgg19(wide, ("relu1_1", "relu2_1", "relu3_1"), dtype)
    return Features(style, Vgg19(deep, ("relu4_1",), dtype)).eval()
