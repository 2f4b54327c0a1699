"""Pretrained feature networks, which the losses and metrics are based on, and their download."""

from __future__ import annotations

import hashlib
import http.client
import logging
import urllib.error
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
from engines.cache_dirs import cache_folder
from engines.errors import TrainError
from engines.style_file import sha256

logger = logging.getLogger(__name__)

MEAN, STD = (0.485, 0.456, 0.406), (0.229, 0.224, 0.225)
VGG19_CONVS = (0, 2, 5, 7, 10, 12, 14, 16, 19, 21, 23, 25, 28)
"""torchvision's indices of the convolutions conv1_1 … conv5_1."""

POOLED = frozenset({5, 10, 19, 28})
"""Convolutions that follow a 2×2 max pool."""

TAPS = {"relu1_1": 0, "relu2_1": 5, "relu2_2": 7, "relu3_1": 10, "relu4_1": 19, "relu5_1": 28}


@dataclass(frozen=True)
class Download:
    """A file to download, its name in the features folder, and the hash that verifies it."""

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

MAX_WEIGHT = 100.0
"""Larger than any weight of a feature network; a flipped bit in an exponent gives larger values."""

_REPLACE = "use an undamaged copy, or delete both small files to download torchvision's VGG19 instead (575 MB)"


def fetch(download: Download, folder: Path, timeout_s: float = 30.0) -> Path:
    """Download a file into a folder, which is created if needed, unless it is there, and verify it.

    Raises:
        TrainError: the download fails or has the wrong hash; nothing is kept.
    """
    target = folder / download.name
    if target.exists():
        if sha256(target) != download.sha256:
            raise TrainError(f"{target} has the wrong hash", hint="delete it, and it is downloaded again")
        return target
    try:
        folder.mkdir(parents=True, exist_ok=True)
        with urllib.request.urlopen(download.url, timeout=timeout_s) as answer, atomic_write(target) as file:  # noqa: S310  # our own URL, pinned by hash
            size = f"{answer.length / 1e6:.0f} MB of " if answer.length else ""
            logger.info("downloading %s%s to %s …", size, download.name, folder)
            while block := answer.read(1 << 20):
                file.write(block)
            file.seek(0)
            if hashlib.file_digest(file, "sha256").hexdigest() != download.sha256:
                raise TrainError(f"{download.url} sent a file with the wrong hash", hint="try again later")
    except (OSError, http.client.HTTPException) as error:  # URLError is an OSError, BadStatusLine is not
        if isinstance(error, urllib.error.HTTPError):
            error.close()  # it holds the connection
        raise TrainError(
            f"cannot download {download.url}: {error}",
            hint=f"download it elsewhere and copy it to {target}, or give --features DIR",
        ) from error
    return target


class Vgg19(nn.Module):
    """VGG19 up to some layer, with reflect padding; fixed weights.

    Args:
        tensors: ``features.N.weight`` and ``.bias``; optional 1×1 heads ``aux.N`` map a narrow network's features to
            the full width, before the ReLU.
        taps: names from ``TAPS`` whose features are returned, in ascending order.
        dtype: type of the computation and of the features.

    Weights, and so features, lie channels-last in memory: no convolution has to reorder what it reads.
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
                        if value.dim() == 4:
                            value = value.contiguous(memory_format=torch.channels_last)
                        self.register_buffer(f"{kind}_{index}_{part}", value, persistent=False)
        self.register_buffer("mean", torch.tensor(MEAN).view(1, 3, 1, 1), persistent=False)
        self.register_buffer("std", torch.tensor(STD).view(1, 3, 1, 1), persistent=False)

    def forward(self, x: Tensor, taps: Sequence[str] | None = None) -> list[Tensor]:
        """Compute features up to the last tap.

        Args:
            x: (N, 3, H, W) in [0, 1].
            taps: names from ``TAPS`` within the network, in ascending order; by default those of the constructor.

        Returns:
            one tensor (N, C, H / s, W / s) per tap.
        """
        wanted = self.taps if taps is None else [TAPS[name] for name in taps]
        x = ((x - self.get_buffer("mean")) / self.get_buffer("std")).to(self.dtype, memory_format=torch.channels_last)
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
    """Content and style features of pictures.

    Args:
        style: network with the taps relu1_1, relu2_1, relu3_1.
        deep: network with the tap relu4_1, used for content and as fourth style layer.
    """

    def __init__(self, style: Vgg19, deep: Vgg19):
        super().__init__()
        self.style_network, self.deep_network = style, deep

    def content(self, x: Tensor) -> Tensor:
        """Return relu4_1. (N, 3, H, W) → (N, 512, H / 8, W / 8)."""
        return self.deep_network(x)[-1]  # type: ignore[no-any-return]

    def style(self, x: Tensor) -> list[Tensor]:
        """Return relu1_1, relu2_1, relu3_1."""
        return self.style_network(x)  # type: ignore[no-any-return]

    def layers(self, x: Tensor, names: Collection[str]) -> dict[str, Tensor]:
        """Return features of (N, 3, H, W) by layer: relu4_1 from the deep network, those before it from the other."""
        found: dict[str, Tensor] = {}
        shallow = [name for name in TAPS if name in names and name != "relu4_1"]
        if shallow:
            found |= zip(shallow, self.style_network(x, shallow), strict=True)
        if "relu4_1" in names:
            found["relu4_1"] = self.content(x)
        return found


def _tensors(path: Path, last: int, heads: Sequence[int] = ()) -> dict[str, Tensor]:
    """Read and check a network up to its convolution ``last``, with 1×1 heads after some convolutions."""
    try:
        tensors = load_file(path)
    except (OSError, SafetensorError) as error:
        raise TrainError(f"cannot read the feature network {path}: {error}", hint=_REPLACE) from error
    channels = 3
    for index in (index for index in VGG19_CONVS if index <= last):
        width = _checked(path, tensors, f"features.{index}", channels, 3)
        if index in heads:
            _checked(path, tensors, f"aux.{index}", width, 1)
        channels = width
    check_values(path, tensors)
    return tensors


def check_values(path: Path, tensors: Mapping[str, Tensor], hint: str = _REPLACE) -> None:
    """Check the values of the network in a file, because safetensors has no checksum.

    Raises:
        TrainError: a value is not finite, or larger than ``MAX_WEIGHT``.
    """
    for name, tensor in tensors.items():
        if not bool((tensor.float().abs() <= MAX_WEIGHT).all()):  # also False for NaN
            raise TrainError(f"{path} is damaged: {name} holds impossible values", hint=hint)


def _checked(path: Path, tensors: Mapping[str, Tensor], name: str, channels: int, kernel: int) -> int:
    """Check the shapes of a convolution and return its number of output channels."""
    shapes: dict[str, tuple[int, ...]] = {}
    for part in (f"{name}.weight", f"{name}.bias"):
        if part not in tensors:
            raise TrainError(f"{path.name} is not this feature network: {part} is missing", hint=_REPLACE)
        shapes[part] = tuple(tensors[part].shape)
    weight, bias = shapes.values()
    width = weight[0] if weight else 0
    if weight != (width, channels, kernel, kernel) or bias != (width,):
        actual = ", ".join(f"{part} has shape {list(shape)}" for part, shape in shapes.items())
        raise TrainError(
            f"{path.name} is not this feature network: {actual}",
            hint=f"expected a {kernel}×{kernel} convolution of {channels} channels",
        )
    return width


def network_files(folder: Path) -> tuple[Path, Path] | None:
    """Return the files of the style and deep networks: the two small ones, or twice torchvision's whole VGG19.

    Returns:
        ``None`` if the folder has none of them.

    Raises:
        TrainError: the folder has only one of the small files.
    """
    small, whole = (folder / WIDE, folder / DISTILLED), folder / VGG19.name
    missing = [file.name for file in small if not file.exists()]
    if not missing:
        return small
    if whole.exists():
        return whole, whole
    if len(missing) < len(small):
        raise TrainError(
            f"{folder} lacks {missing[0]}, the other of the two small feature networks",
            hint="add it, or remove the small file to use torchvision's VGG19 instead (575 MB)",
        )
    return None


def check_folder(folder: Path) -> None:
    """Check the folder given with ``--features``.

    Raises:
        TrainError: it does not exist, or is a file.
    """
    if folder.is_file():
        raise TrainError(f"{folder} is a file", hint=f"--features takes the folder with {WIDE} and {DISTILLED}")
    if not folder.is_dir():
        raise TrainError(f"no such folder: {folder}", hint="omit --features to use the cache")


def load_features(folder: Path | None = None, dtype: torch.dtype = torch.float32) -> Features:
    """Load the feature networks from a folder or the cache; download VGG19 if they are missing.

    A folder holds either the two small files (full-width VGG19 to relu3_1 and a distilled one to relu4_1) or
    torchvision's whole VGG19.

    Raises:
        TrainError: a file is missing or damaged, or cannot be downloaded.
    """
    if folder is not None:
        check_folder(folder)
        if network_files(folder) is None:
            logger.info("%s has neither %s and %s nor %s", folder, WIDE, DISTILLED, VGG19.name)
    folder = folder or cache_folder("features")
    if network_files(folder) == (folder / WIDE, folder / DISTILLED):
        wide = _tensors(folder / WIDE, last=TAPS["relu3_1"])
        deep = _tensors(folder / DISTILLED, last=TAPS["relu4_1"], heads=(TAPS["relu4_1"],))
    else:
        whole = torch.load(fetch(VGG19, folder), map_location="cpu", weights_only=True)
        wide = deep = whole
    style = Vgg19(wide, ("relu1_1", "relu2_1", "relu3_1"), dtype)
    return Features(style, Vgg19(deep, ("relu4_1",), dtype)).eval()
