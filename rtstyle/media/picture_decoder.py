"""Decodes picture files with Pillow, upright and as sRGB."""

from __future__ import annotations

import logging
import warnings
from contextlib import suppress
from functools import cache
from io import BytesIO
from pathlib import Path

import cv2
import numpy as np
import numpy.typing as npt
from PIL import ExifTags, Image, TiffImagePlugin, UnidentifiedImageError

from engines.base import RGB
from engines.errors import SourceError
from engines.install_hint import pip_install
from rtstyle.frame import Alpha
from rtstyle.media.bmp_bit_fields import read_bit_fields
from rtstyle.media.colour_profile import to_srgb
from rtstyle.media.hdr import ToneMapper

MAX_PIXELS = 1 << 28
"""Larger pictures are refused as decompression bombs; telephones take photographs of up to 200 million pixels."""

FORMATS = (
    *("JPEG", "PNG", "WEBP", "TIFF", "AVIF", "HEIF", "GIF", "BMP", "DIB", "JPEG2000", "PSD", "ICO", "ICNS"),
    *("PPM", "PCX", "QOI", "SGI", "SUN"),
)
"""Formats that are recognised by their content. Pillow has more, but some of them run programs (EPS, WMF)."""

TGA_SUFFIXES = (".tga", ".icb", ".vda", ".vst")
"""TGA has no signature, so that other files may look like it."""

HEIC_BRANDS = (b"heic", b"heix", b"heim", b"heis", b"hevc", b"hevx", b"mif1", b"msf1")

BITS_PER_SAMPLE, COMPRESSION, PHOTOMETRIC, SAMPLES, PLANAR = 258, 259, 262, 277, 284
STRIPS, TILES = (273, 279), (324, 325)
"""Tags of TIFF; of strips and tiles those of their offsets and lengths."""

HDR_TRANSFERS = {16: "PQ", 18: "HLG"}
"""H.273, table 3, as stated in the box ``colr`` of AVIF and HEIC: after ``nclx`` and two bytes for the primaries."""

TURNS = {
    2: (False, 1),
    3: (False, -1),
    4: (False, 0),
    5: (True, None),
    6: (True, 1),
    7: (True, -1),
    8: (True, 0),
}
"""EXIF orientation → whether to transpose first, and OpenCV's code of the flip that follows."""


def decode(path: Path, data: bytes) -> tuple[RGB, Alpha | None]:
    """Decode the first picture of a file.

    Args:
        path: file name, for messages and for formats without a signature.
        data: content of the file.

    Returns:
        The colours, whatever the opacity, and the opacity or ``None`` if the picture is opaque.

    Raises:
        SourceError: the file is not a picture, is damaged, too large, or of a kind that cannot be read.
    """
    picture = _open(path, data)
    if picture.width * picture.height > MAX_PIXELS:
        raise _too_large(path)
    try:
        _load(picture, len(data))
        colour, alpha = _channels(picture, data)
        profile = picture.info.get("icc_profile")
        rgb = np.array(to_srgb(colour, profile if isinstance(profile, bytes) else None))
        rgb = _standard_range(rgb, picture, data)
        opacity = None if alpha is None else np.array(alpha)
    except SourceError as error:
        raise SourceError(f"{path} {error.problem}", hint=error.hint) from error
    except MemoryError as error:
        problem = f"{path} needs more memory than is free, for {picture.width}×{picture.height} pixels"
        raise SourceError(problem, hint="make it smaller first") from error
    except Exception as error:  # a damaged file may raise anything in a decoder
        raise _damaged(path) from error
    orientation = _orientation(picture)
    if opacity is not None and opacity.min(initial=255) == 255:
        opacity = None
    return _upright(rgb, orientation), None if opacity is None else _upright(opacity, orientation)


def _open(path: Path, data: bytes) -> Image.Image:
    formats = _prepare_pillow()
    if path.suffix.lower() in TGA_SUFFIXES:
        formats = (*formats, "TGA")
    try:
        return Image.open(BytesIO(data), formats=formats)
    except (Image.DecompressionBombError, Image.DecompressionBombWarning) as error:
        raise _too_large(path) from error
    except UnidentifiedImageError as error:
        if data[4:8] == b"ftyp" and data[8:12] in HEIC_BRANDS and "HEIF" not in formats:
            raise SourceError(f"{path} is a HEIC picture, which needs pillow-heif", hint=pip_install("heif")) from error
        problem = f"{path} is not a picture, or is damaged"
        raise SourceError(problem, hint="use PNG, JPEG, WebP, AVIF, TIFF, BMP or GIF") from error
    except Exception as error:  # as above
        picture = read_bit_fields(data, MAX_PIXELS)
        if picture is None:
            raise _damaged(path) from error
        return picture


@cache
def _prepare_pillow() -> tuple[str, ...]:
    """Set Pillow up for this process, and return the formats that it can read."""
    Image.MAX_IMAGE_PIXELS = MAX_PIXELS  # also guards pictures inside of files: tiles, icons
    TiffImagePlugin.READ_LIBTIFF = True  # Pillow's own reader mixes up uncompressed planes of 16 bits
    logging.getLogger("PIL").addHandler(logging.NullHandler())  # else Python prints Pillow's errors
    warnings.filterwarnings("ignore", module=r"PIL\.")  # about metadata that are not used here
    warnings.filterwarnings("error", category=Image.DecompressionBombWarning)
    with suppress(ImportError):
        import pillow_heif

        pillow_heif.register_heif_opener()
    Image.init()
    return tuple(name for name in FORMATS if name in Image.OPEN)


def _too_large(path: Path) -> SourceError:
    return SourceError(f"{path} has more than {MAX_PIXELS:,} pixels", hint="make it smaller first")


def _damaged(path: Path) -> SourceError:
    return SourceError(f"{path} is damaged or incomplete", hint="copy it again, or save it again in another program")


def _load(picture: Image.Image, size: int) -> None:
    if isinstance(picture, TiffImagePlugin.TiffImageFile) and _is_cut_off(picture, size):
        raise EOFError  # libtiff would also print a line about every missing part
    picture.load()


def _is_cut_off(picture: TiffImagePlugin.TiffImageFile, size: int) -> bool:
    """Return True if a strip or tile lies behind the end of the file."""
    offsets, lengths = (
        next((value for tags in (STRIPS, TILES) if isinstance(value := picture.tag_v2.get(tags[part]), tuple)), ())
        for part in (0, 1)
    )
    longest = size
    if picture.tag_v2.get(COMPRESSION, 1) == 1:  # some files state a nonsensical length
        bits = picture.width * picture.tag_v2.get(SAMPLES, 1) * _first(picture.tag_v2.get(BITS_PER_SAMPLE))
        longest = picture.height * ((bits + 7) // 8)
    return any(offset + min(length, longest) > size for offset, length in zip(offsets, lengths, strict=False))


def _channels(picture: Image.Image, data: bytes) -> tuple[Image.Image, Image.Image | None]:
    """Return the colours in mode L, RGB, CMYK or LAB, and the opacity in mode L."""
    if picture.mode.startswith("I;16") or (picture.mode == "I" and picture.format == "PPM"):
        return _from_16_bits(picture)
    if picture.mode in ("I", "F"):
        raise SourceError(
            f"has {'float' if picture.mode == 'F' else '32-bit'} pixels", hint="convert it to 8 or 16 bits first"
        )
    if picture.mode in ("CMYK", "LAB"):
        return picture, None
    if picture.mode == "1":
        picture = picture.convert("L")
    if not picture.has_transparency_data:
        return _in_mode(picture, "L" if picture.mode == "L" else "RGB"), None
    if picture.mode == "LA" and isinstance(picture, TiffImagePlugin.TiffImageFile) and picture.tag_v2.get(PLANAR) == 2:
        raise SourceError("keeps grey and opacity in separate planes", hint="save it as PNG")
    _scale_transparent_colour(picture, data)
    rgba = picture.convert("RGBA")
    grey = picture.mode in ("L", "LA", "La")
    return rgba.getchannel("R") if grey else rgba.convert("RGB"), rgba.getchannel("A")


def _in_mode(picture: Image.Image, mode: str) -> Image.Image:
    return picture if picture.mode == mode else picture.convert(mode)  # which would copy it


def _from_16_bits(picture: Image.Image) -> tuple[Image.Image, Image.Image | None]:
    """Scale grey of more than 8 bits, which Pillow would clip at 255."""
    values = np.asarray(picture).astype(np.uint32)
    transparent = picture.info.get("transparency")
    alpha = Image.fromarray(np.uint8(255) * (values != transparent)) if isinstance(transparent, int) else None
    if isinstance(picture, TiffImagePlugin.TiffImageFile):
        values <<= 16 - min(16, _first(picture.tag_v2.get(BITS_PER_SAMPLE)))
        if picture.tag_v2.get(PHOTOMETRIC) == 0:  # white is 0
            values = 65535 - values
    return Image.fromarray(((values + 128) // 257).astype(np.uint8)), alpha


def _standard_range(rgb: RGB, picture: Image.Image, data: bytes) -> RGB:
    """Map a picture of high dynamic range (PQ or HLG) to sRGB, as for video."""
    at = data.find(b"colrnclx") + len(b"colrnclx") if picture.format in ("AVIF", "HEIF") else 0
    transfer = int.from_bytes(data[at + 2 : at + 4], "big")
    if at < len(b"colrnclx") or transfer not in HDR_TRANSFERS or "icc_profile" in picture.info:
        return rgb
    return ToneMapper(HDR_TRANSFERS[transfer])(rgb)


def _first(value: object) -> int:
    found = value[0] if isinstance(value, tuple) else value
    return found if isinstance(found, int) and found > 0 else 16


def _scale_transparent_colour(picture: Image.Image, data: bytes) -> None:
    """Give the transparent colour of a PNG the depth of Pillow's pixels: 8 bits, where the file has 2, 4 or 16."""
    key = picture.info.get("transparency")
    if picture.format != "PNG" or picture.mode not in ("L", "RGB"):
        return
    depth = data[24]  # in the header, which is always the first chunk
    if isinstance(key, int) and depth in (2, 4):
        picture.info["transparency"] = key * 255 // ((1 << depth) - 1)
    elif isinstance(key, tuple) and depth == 16:
        picture.info["transparency"] = tuple(value >> 8 for value in key)


def _orientation(picture: Image.Image) -> int:
    """Return the orientation in EXIF, XMP or the properties of the format; 1 is upright."""
    try:
        found = picture.getexif().get(ExifTags.Base.Orientation, 1)
    except Exception:  # noqa: BLE001  # damaged metadata, which no viewer minds
        return 1
    return found if isinstance(found, int) else 1


def _upright(pixels: npt.NDArray[np.uint8], orientation: int) -> npt.NDArray[np.uint8]:
    if orientation not in TURNS:
        return pixels
    transpose, flip = TURNS[orientation]
    turned = cv2.transpose(pixels) if transpose else pixels
    return np.asarray(turned if flip is None else cv2.flip(turned, flip), np.uint8)
