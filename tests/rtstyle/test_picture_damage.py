"""Whatever a file holds, it is read or refused in one line: random damage, and the pictures Pillow is tested with."""

from __future__ import annotations

import io
import subprocess
import sys
import tarfile
from pathlib import Path
from typing import Any

import numpy as np
import PIL
import pytest
from PIL import Image

from engines.base import RGB
from engines.errors import SourceError
from rtstyle.media.image_files import read_picture

WRITTEN: dict[str, tuple[str, ...]] = {
    ".jpg": ("L", "RGB", "CMYK"),
    ".png": ("1", "L", "LA", "P", "RGB", "RGBA", "I;16"),
    ".webp": ("RGB", "RGBA"),
    ".gif": ("1", "L", "P", "RGB", "RGBA"),
    ".bmp": ("1", "L", "P", "RGB", "RGBA"),
    ".tif": ("1", "L", "LA", "P", "RGB", "RGBA", "CMYK", "LAB", "I;16", "F"),
    ".avif": ("L", "RGB", "RGBA"),
    ".heic": ("L", "RGB", "RGBA"),
    ".jp2": ("L", "LA", "RGB", "RGBA", "I;16"),
    ".ppm": ("1", "L", "RGB"),
    ".tga": ("L", "LA", "P", "RGB", "RGBA"),
    ".ico": ("RGB", "RGBA"),
    ".icns": ("RGBA",),
    ".pcx": ("1", "L", "P", "RGB"),
    ".qoi": ("RGB", "RGBA"),
    ".sgi": ("L", "RGB", "RGBA"),
}
"""Suffix → modes that Pillow writes."""

OPTIONS: dict[str, tuple[dict[str, Any], ...]] = {
    ".jpg": ({}, {"progressive": True}, {"quality": 5}),
    ".webp": ({}, {"lossless": True}),
    ".tif": ({}, {"compression": "tiff_lzw"}, {"compression": "tiff_deflate"}, {"compression": "packbits"}),
    ".tga": ({}, {"compression": "tga_rle"}),
}

ALIKE = {
    **{f"bmp/g/{name}.bmp": (f"bmp/html/{name}.png", 1) for name in ("pal1", "pal1bg", "pal4", "pal8", "pal8w124")},
    **{
        f"bmp/g/{name}.bmp": ("bmp/html/pal8.png", 1)
        for name in ("pal8rle", "pal8os2", "pal8topdown", "pal8v4", "pal8v5")
    },
    **{f"bmp/g/{name}.bmp": (f"bmp/html/{name}.png", 1) for name in ("rgb16", "rgb16-565")},
    **{f"bmp/g/{name}.bmp": ("bmp/html/rgb24.png", 0) for name in ("rgb24", "rgb24pal", "rgb32", "rgb32bf")},
    **{f"bmp/q/{name}.bmp": ("bmp/html/rgb24.png", 1) for name in ("rgb32h52", "rgb32bf-xbgr", "rgb32-111110")},
    "bmp/q/rgba32abf.bmp": ("bmp/q/rgba32.bmp", 0),
    **{f"{name}.tiff": ("tiff_16bit_RGB_target.png", 0) for name in ("tiff_16bit_RGB", "tiff_strip_planar_16bit_RGB")},
    "tiff_tiled_planar_16bit_RGB.tiff": ("tiff_16bit_RGB_target.png", 0),
    "tiff_16bit_RGBa.tiff": ("tiff_16bit_RGBa_target.png", 0),
    "tiff_strip_planar_16bit_RGBa.tiff": ("tiff_16bit_RGBa_target.png", 0),
    **{f"tga/common/200x32_{kind}.tga": (f"tga/common/200x32_{kind[:-7]}.png", 0) for kind in ("l_bl_rle", "p_tl_raw")},
    **{
        f"tga/common/200x32_{kind}.tga": (f"tga/common/200x32_{kind[:-7]}.png", 0)
        for kind in ("la_bl_raw", "rgba_tl_rle")
    },
    "12bit.cropped.tif": ("12in16bit.tif", 2),
}
"""A picture of Pillow's tests → another file of the same picture, and the largest difference."""


def check(path: Path) -> bool:
    """Read a picture; return True if it could be read."""
    try:
        rgb, alpha = read_picture(path)
    except SourceError as error:
        one_line = "\n" not in str(error) and str(path) in error.problem
        if not one_line:
            raise
        return False
    assert rgb.dtype == np.uint8 and rgb.ndim == 3 and rgb.shape[2] == 3 and rgb.size
    assert alpha is None or (alpha.dtype == np.uint8 and alpha.shape == rgb.shape[:2])
    return True


def random_picture(rng: np.random.Generator, mode: str) -> Image.Image:
    width, height = (int(side) for side in rng.integers(1, 200, 2))
    smooth = rng.integers(0, 256, (3, 3, 3)).astype(np.uint8)
    picture = Image.fromarray(smooth).resize((width, height), Image.Resampling.BICUBIC)
    if mode in ("I;16", "F"):
        return picture.convert("I" if mode == "I;16" else "F").convert(mode)
    return picture.convert(mode)


def damaged(data: bytes, rng: np.random.Generator) -> bytes:
    """Leave it, flip some bytes, flip some of the header, or cut it off."""
    kind = rng.integers(5)
    changed = bytearray(data)
    last = min(len(data), 100) if kind == 2 else len(data)
    if kind in (1, 2, 3):
        for _ in range(int(rng.integers(1, 10))):
            changed[int(rng.integers(last))] ^= int(rng.integers(1, 256))
    if kind in (3, 4):
        del changed[int(rng.integers(1, len(data))) :]
    return bytes(changed)


@pytest.mark.slow
@pytest.mark.filterwarnings("ignore")  # as outside of tests: Pillow warns about metadata
@pytest.mark.parametrize("block", range(10))
def test_random_pictures_are_read_or_refused(tmp_path: Path, block: int) -> None:
    read = 0
    for number in range(50 * block, 50 * block + 50):
        rng = np.random.default_rng(number)
        suffix = sorted(WRITTEN)[int(rng.integers(len(WRITTEN)))]
        mode = WRITTEN[suffix][int(rng.integers(len(WRITTEN[suffix])))]
        choices = OPTIONS.get(suffix, ({},))
        stored = io.BytesIO()
        name = Image.registered_extensions()[suffix]
        random_picture(rng, mode).save(stored, name, **choices[int(rng.integers(len(choices)))])
        path = tmp_path / f"{number}{suffix}"
        path.write_bytes(damaged(stored.getvalue(), rng))
        read += check(path)
    assert 5 < read < 45


@pytest.fixture(scope="module")
def pillows_pictures(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Pillow's test pictures, from its source distribution."""
    folder = tmp_path_factory.mktemp("pillow")
    command = [sys.executable, "-m", "pip", "download", "--quiet", "--no-deps", "--no-binary", ":all:"]
    subprocess.run([*command, f"pillow=={PIL.__version__}", "--dest", str(folder)], check=True)
    with tarfile.open(next(folder.glob("*.tar.gz"))) as archive:
        archive.extractall(folder, filter="data")
    return next(folder.glob("*/Tests/images"))


@pytest.mark.network
@pytest.mark.filterwarnings("ignore")
def test_pillows_pictures_are_read_or_refused(pillows_pictures: Path) -> None:
    files = [path for path in sorted(pillows_pictures.rglob("*")) if path.is_file()]
    assert sum(check(path) for path in files) > 500


def plain(path: Path) -> RGB | None:
    """Return the pixels by Pillow alone, or None where sRGB, 8 bits, opaque and upright are not what the file says."""
    try:
        with Image.open(path) as picture:
            picture.load()
            said = {"icc_profile", "gamma", "chromaticity", "transparency", "exif", "xmp", "XML:com.adobe.xmp"}
            if picture.mode not in ("L", "RGB") or said & set(picture.info) or picture.getexif():
                return None
            return np.asarray(picture.convert("RGB"))
    except Exception:  # noqa: BLE001  # test pictures of damage: whatever Pillow raises
        return None


@pytest.mark.network
@pytest.mark.filterwarnings("ignore")
def test_plain_pictures_are_what_pillow_reads(pillows_pictures: Path) -> None:
    compared, differ = 0, []
    for path in sorted(path for path in pillows_pictures.rglob("*") if path.is_file()):
        expected = plain(path)
        if expected is None or not check(path):
            continue
        compared += 1
        if not np.array_equal(read_picture(path)[0], expected):
            differ.append(path.relative_to(pillows_pictures).as_posix())
    assert compared > 200 and differ == []


@pytest.mark.network
@pytest.mark.filterwarnings("ignore")
@pytest.mark.parametrize("name", ALIKE)
def test_pictures_that_look_alike(pillows_pictures: Path, name: str) -> None:
    other, tolerance = ALIKE[name]
    first, second = (read_picture(pillows_pictures / file)[0].astype(int) for file in (name, other))
    assert first.shape == second.shape and np.abs(first - second).max() <= tolerance


@pytest.mark.network
@pytest.mark.parametrize("suffix", ["jpg", "webp"])
@pytest.mark.parametrize("orientation", range(2, 9))
def test_pillows_pictures_are_upright(pillows_pictures: Path, orientation: int, suffix: str) -> None:
    turned = read_picture(pillows_pictures / f"hopper_orientation_{orientation}.{suffix}")[0].astype(int)
    assert np.abs(turned - read_picture(pillows_pictures / "hopper.png")[0]).mean() < 6
