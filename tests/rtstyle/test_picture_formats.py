"""Every kind of picture is read upright and complete, or refused in one line."""

from __future__ import annotations

import struct
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt
import pillow_heif
import pytest
from PIL import Image

from engines.base import RGB
from engines.errors import SourceError
from rtstyle.media import picture_decoder
from rtstyle.media.image_files import read_picture
from tests.rtstyle.picture_bytes import (
    bmp_file,
    corners,
    gif_with_local_palette,
    packed,
    png_file,
    psd_file,
    tiff_file,
)

LOSSLESS: list[tuple[str, dict[str, Any]]] = [
    ("a.png", {}),
    ("a.webp", {"lossless": True}),
    ("a.bmp", {}),
    ("a.dib", {}),
    ("a.tif", {}),
    ("a.tif", {"compression": "tiff_lzw"}),
    ("a.tif", {"compression": "tiff_deflate"}),
    ("a.tif", {"compression": "packbits"}),
    ("a.jp2", {}),
    ("a.ppm", {}),
    ("a.tga", {}),
    ("a.TGA", {"compression": "tga_rle"}),
    ("a.pcx", {}),
    ("a.qoi", {}),
    ("a.sgi", {}),
    ("a.gif", {}),
    ("a.ico", {"sizes": [(40, 24)]}),
]

pillow_heif.register_heif_opener()  # tests write such pictures, too

LOSSY: list[tuple[str, dict[str, Any]]] = [
    ("a.jpg", {"quality": 100, "subsampling": 0}),
    ("a.jpg", {"quality": 100, "subsampling": 0, "progressive": True}),
    ("a.webp", {"quality": 100}),
    ("a.avif", {"quality": 100, "subsampling": "4:4:4"}),
    ("a.heic", {"quality": 100, "chroma": 444}),
    ("a.tif", {"compression": "jpeg", "quality": 100}),
]

UPRIGHT = (
    lambda stored: stored,
    lambda stored: stored[:, ::-1],
    lambda stored: stored[::-1, ::-1],
    lambda stored: stored[::-1],
    lambda stored: stored.swapaxes(0, 1),
    lambda stored: np.rot90(stored, 3),
    lambda stored: np.rot90(stored.swapaxes(0, 1), 2),
    lambda stored: np.rot90(stored, 1),
)
"""How a stored picture is turned to be seen, by orientation from 1. TIFF 6.0, tag 0x0112."""


def picture(*, alpha: bool = False) -> Image.Image:
    rgb = Image.fromarray(corners())
    if alpha:
        rgb.putalpha(Image.fromarray(opacity()))
    return rgb


def opacity() -> npt.NDArray[np.uint8]:
    return np.tile(np.linspace(0, 255, 40).round().astype(np.uint8), (24, 1))


def on_white(rgb: RGB, alpha: npt.NDArray[np.uint8]) -> npt.NDArray[np.float64]:
    share = alpha[..., None] / 255
    return rgb * share + 255 * (1 - share)


def exif(orientation: int) -> bytes:
    return b"MM\x00*\x00\x00\x00\x08" + struct.pack(">HHHIHHI", 1, 0x0112, 3, 1, orientation, 0, 0)


def written(path: Path, data: bytes) -> Path:
    path.write_bytes(data)
    return path


@pytest.mark.parametrize(("name", "options"), LOSSLESS)
def test_lossless_formats(tmp_path: Path, name: str, options: dict[str, Any]) -> None:
    picture().save(tmp_path / name, **options)
    rgb, alpha = read_picture(tmp_path / name)
    assert np.array_equal(rgb, corners()) and alpha is None
    assert rgb.flags.writeable and rgb.flags.c_contiguous


@pytest.mark.parametrize(("name", "options"), LOSSY)
def test_lossy_formats(tmp_path: Path, name: str, options: dict[str, Any]) -> None:
    picture().save(tmp_path / name, **options)
    difference = np.abs(read_picture(tmp_path / name)[0].astype(int) - corners())
    assert difference.mean() < 5  # chroma of half the resolution at the edges


@pytest.mark.parametrize("name", ["a.png", "a.webp", "a.tif", "a.tga", "a.jp2", "a.qoi", "a.sgi", "a.avif", "a.heic"])
def test_opacity_is_read_and_the_rest_is_white(tmp_path: Path, name: str) -> None:
    lossless = {"lossless": True, "exact": True} if name == "a.webp" else {}
    picture(alpha=True).save(tmp_path / name, **lossless)
    rgb, alpha = read_picture(tmp_path / name)
    assert alpha is not None
    tolerance = 40 if name in ("a.avif", "a.heic") else 0
    assert np.abs(alpha.astype(int) - opacity()).max() <= tolerance
    assert np.abs(rgb - on_white(corners(), opacity())).max() <= tolerance * 4 + 0.51


def test_a_picture_without_transparent_parts_has_no_opacity(tmp_path: Path) -> None:
    picture().convert("RGBA").save(tmp_path / "a.png")
    assert read_picture(tmp_path / "a.png")[1] is None


@pytest.mark.parametrize("orientation", range(1, 9))
@pytest.mark.parametrize("name", ["a.png", "a.webp", "a.tif", "a.avif", "a.heic", "alpha.png", "old.webp", "xmp.png"])
def test_orientation(tmp_path: Path, name: str, orientation: int) -> None:
    path = tmp_path / name
    stored = picture(alpha=name == "alpha.png")
    options: dict[str, Any] = {"lossless": True} if name.endswith("webp") else {}
    if name == "xmp.png":
        stored.save(path)
        text = f'<x:xmpmeta><rdf:Description tiff:Orientation="{orientation}"/></x:xmpmeta>'.encode()
        data = b"XML:com.adobe.xmp\0\0\0\0\0" + text
        rows = [row.tobytes() for row in corners()]
        path.write_bytes(png_file((40, 24), 8, 2, rows, iTXt=data))
    elif name == "old.webp":  # some programs write the chunk as in JPEG
        stored.save(path, exif=b"Exif\0\0" + exif(orientation), **options)
        data = path.read_bytes()
        if b"Exif\0\0" not in data:
            at = data.index(b"EXIF")
            chunk = b"Exif\0\0" + exif(orientation)
            data = data[:at] + b"EXIF" + struct.pack("<I", len(chunk)) + chunk
            path.write_bytes(data[:4] + struct.pack("<I", len(data) - 8) + data[8:])
        assert b"Exif\0\0MM" in path.read_bytes()
    else:
        stored.save(path, exif=exif(orientation), **options)
    rgb, alpha = read_picture(path)
    turn = UPRIGHT[orientation - 1]
    expected = turn(corners())
    if name == "alpha.png":
        assert alpha is not None and np.array_equal(alpha, turn(opacity()))
        expected = turn(on_white(corners(), opacity()))
    assert rgb.shape == expected.shape
    assert np.abs(rgb.astype(int) - expected).mean() < 12


def test_avif_is_turned_by_its_own_property(tmp_path: Path) -> None:
    """ISO/IEC 23008-12, 6.5.10: ``irot`` counts quarter turns against the clock. A pure EXIF tag has no effect."""
    picture().save(tmp_path / "a.avif", exif=exif(6), quality=100)
    data = (tmp_path / "a.avif").read_bytes()
    at = data.index(b"irot") + 4
    for turns in range(4):
        path = written(tmp_path / f"{turns}.avif", data[:at] + bytes([turns]) + data[at + 1 :])
        assert np.abs(read_picture(path)[0].astype(int) - np.rot90(corners(), turns)).mean() < 12


@pytest.mark.parametrize("mode", ["1", "L", "P"])
@pytest.mark.parametrize("name", ["a.png", "a.tif", "a.bmp", "a.gif", "a.tga"])
def test_grey_and_palettes(tmp_path: Path, name: str, mode: str) -> None:
    made = picture().convert(mode)
    made.save(tmp_path / name)
    assert np.array_equal(read_picture(tmp_path / name)[0], np.asarray(made.convert("RGB")))


@pytest.mark.parametrize("depth", [1, 2, 4, 8, 16])
def test_a_grey_png_with_one_transparent_level(tmp_path: Path, depth: int) -> None:
    largest = (1 << depth) - 1
    values = np.tile(np.linspace(0, largest, 8).astype(np.uint16), (4, 1))
    rows = [row.astype(">u2").tobytes() for row in values] if depth == 16 else packed(values, depth)
    key = int(values[0, -1])
    data = png_file((8, 4), depth, 0, rows, tRNS=struct.pack(">H", key))
    rgb, alpha = read_picture(written(tmp_path / "a.png", data))
    assert alpha is not None and np.array_equal(alpha, np.where(values == key, 0, 255))
    seen = values[values != key]
    assert np.array_equal(rgb[values != key][:, 1], (seen / largest * 255).round())


@pytest.mark.parametrize("depth", [8, 16])
def test_a_png_with_one_transparent_colour(tmp_path: Path, depth: int) -> None:
    values = corners().astype(np.uint16) * (257 if depth == 16 else 1)
    rows = [row.astype(f">u{depth // 8}").tobytes() for row in values]
    key = struct.pack(">HHH", *(values[0, 0].tolist()))
    _, alpha = read_picture(written(tmp_path / "a.png", png_file((40, 24), depth, 2, rows, tRNS=key)))
    assert alpha is not None and (alpha[:12, :20] == 0).all() and alpha.sum() == 255 * (24 * 40 - 12 * 20)


def test_a_palette_with_transparent_entries(tmp_path: Path) -> None:
    values = np.tile(np.arange(4), (4, 2))
    chunks = {"PLTE": bytes([255, 0, 0, 0, 255, 0, 0, 0, 255, 9, 9, 9]), "tRNS": bytes([0, 100, 255])}
    rgb, alpha = read_picture(written(tmp_path / "a.png", png_file((8, 4), 2, 3, packed(values, 2), **chunks)))
    assert alpha is not None and alpha[0, :4].tolist() == [0, 100, 255, 255]
    assert rgb[0, :4].tolist() == [[255, 255, 255], [155, 255, 155], [0, 0, 255], [9, 9, 9]]


@pytest.mark.parametrize("planar", [1, 2])
@pytest.mark.parametrize("channels", [3, 4])
def test_tiff_of_16_bits(tmp_path: Path, channels: int, planar: int) -> None:
    values = np.random.default_rng(1).integers(0, 65536, (16, 24, channels)).astype("<u2")
    strips = [values[..., k].tobytes() for k in range(channels)] if planar == 2 else [values.tobytes()]
    tags = {"tag_284": planar} | ({"tag_338": 2} if channels == 4 else {})
    data = tiff_file((24, 16), [16] * channels, 2, strips, **tags)
    rgb, alpha = read_picture(written(tmp_path / "a.tif", data))
    expected: npt.NDArray[Any] = values[..., :3] / 257
    if channels == 4:
        assert alpha is not None and np.abs(alpha - values[..., 3] / 257).max() <= 1
        expected = on_white(expected, values[..., 3] / 257)  # type: ignore[arg-type]
    assert np.abs(rgb - expected).max() < 2.1


@pytest.mark.parametrize("white_is_zero", [False, True])
@pytest.mark.parametrize("bits", [2, 4, 8, 16])
def test_grey_tiff(tmp_path: Path, bits: int, white_is_zero: bool) -> None:
    largest = (1 << bits) - 1
    values = np.tile(np.linspace(0, largest, 24).astype(np.uint16), (8, 1))
    strip = values.astype("<u2").tobytes() if bits == 16 else b"".join(packed(values, bits))
    path = written(tmp_path / "a.tif", tiff_file((24, 8), [bits], 0 if white_is_zero else 1, [strip]))
    expected = (values / largest * 255).round()
    assert np.array_equal(read_picture(path)[0][..., 0], 255 - expected if white_is_zero else expected)


BIT_FIELDS: dict[str, tuple[int, int, tuple[int, ...]]] = {
    "10 bits": (32, 40, (0x3FF00000, 0xFFC00, 0x3FF)),
    "odd bytes": (32, 52, (0xFF000000, 0xFF00, 0xFF)),
    "swapped": (32, 40, (0xFF, 0xFF00, 0xFF0000)),
    "4 bits and opacity": (16, 56, (0xF00, 0xF0, 0xF, 0xF000)),
    "565": (16, 40, (0xF800, 0x7E0, 0x1F)),
}


@pytest.mark.parametrize("fields", BIT_FIELDS)
@pytest.mark.parametrize("from_top", [False, True])
def test_bmp_with_bit_fields(tmp_path: Path, fields: str, from_top: bool) -> None:
    bits, header, masks = BIT_FIELDS[fields]
    channels = np.dstack([corners(), opacity()])[:, 1:]  # 39 pixels: rows of 16 bits need padding
    pixels = np.zeros(channels.shape[:2], np.uint32)
    exact = np.zeros((*channels.shape[:2], len(masks)))
    for index, mask in enumerate(masks):
        shift = (mask & -mask).bit_length() - 1
        field = np.round(channels[..., index] / 255 * (mask >> shift))
        exact[..., index] = field / (mask >> shift) * 255
        pixels |= field.astype(np.uint32) << shift
    rows = pixels if from_top else pixels[::-1]
    stored = b"".join(
        row.astype(f"<u{bits // 8}").tobytes().ljust((39 * bits // 8 + 3) // 4 * 4, b"\0") for row in rows
    )
    extra = struct.pack(f"<{len(masks)}I", *masks)
    data = bmp_file((39, -24 if from_top else 24), bits, 3, stored, extra, header)
    rgb, alpha = read_picture(written(tmp_path / "a.bmp", data))
    expected = exact[..., :3]
    if len(masks) == 4:
        assert alpha is not None and np.abs(alpha - exact[..., 3]).max() <= 0.5
        expected = on_white(expected, exact[..., 3])  # type: ignore[arg-type]
    assert np.abs(rgb - expected).max() <= 1


def test_run_length_bmp(tmp_path: Path) -> None:
    palette = bytes([0, 0, 255, 0, 255, 0, 0, 0])  # red and blue, as BGR and padding
    pixels = bytes([5, 0, 3, 1, 0, 0, 8, 1, 0, 0, 0, 1])  # five red and three blue; eight blue; the end
    header = bytearray(bmp_file((8, 2), 8, 1, pixels, palette))
    header[46:50] = struct.pack("<I", 2)
    rgb, _ = read_picture(written(tmp_path / "a.bmp", bytes(header)))
    assert (rgb[0] == (0, 0, 255)).all()
    assert (rgb[1, :5] == (255, 0, 0)).all() and (rgb[1, 5:] == (0, 0, 255)).all()


def test_an_icon_with_a_mask(tmp_path: Path) -> None:
    rgb = np.ascontiguousarray(corners()[:, 4:36])
    Image.fromarray(rgb).save(tmp_path / "a.ico", sizes=[(32, 24)], bitmap_format="bmp")
    assert np.array_equal(read_picture(tmp_path / "a.ico")[0], rgb)


def test_gif_with_a_local_palette_only(tmp_path: Path) -> None:
    picture().quantize(4).save(tmp_path / "plain.gif")
    data = gif_with_local_palette((tmp_path / "plain.gif").read_bytes())
    assert np.array_equal(read_picture(written(tmp_path / "a.gif", data))[0], corners())


def test_photoshop_files_are_read_merged(tmp_path: Path) -> None:
    assert np.array_equal(read_picture(written(tmp_path / "a.psd", psd_file(corners())))[0], corners())


@pytest.mark.parametrize("name", ["a.gif", "a.png", "a.webp", "a.tif", "a.avif"])
def test_of_a_moving_picture_the_first_frame_counts(tmp_path: Path, name: str) -> None:
    frames = [Image.new("RGB", (32, 24), colour) for colour in ("red", "blue", "lime")]
    frames[0].save(tmp_path / name, save_all=True, append_images=frames[1:], duration=40)
    rgb, alpha = read_picture(tmp_path / name)
    assert np.abs(rgb.astype(int) - (255, 0, 0)).max() < 8 and alpha is None


@pytest.mark.parametrize("share", [0.1, 0.5, 0.9])
@pytest.mark.parametrize(("name", "options"), [*LOSSLESS, *LOSSY])
def test_a_truncated_file_is_refused_in_one_line(
    tmp_path: Path, name: str, options: dict[str, Any], share: float
) -> None:
    noise = np.random.default_rng(2).integers(0, 256, (24, 40, 3)).astype(np.uint8)
    Image.fromarray(noise).save(tmp_path / name, **options)
    data = (tmp_path / name).read_bytes()
    (tmp_path / name).write_bytes(data[: int(len(data) * share)])
    with pytest.raises(SourceError, match="damaged") as caught:
        read_picture(tmp_path / name)
    assert "\n" not in str(caught.value)


@pytest.mark.parametrize("planar", [1, 2])
def test_a_truncated_tiff_is_refused_in_silence(tmp_path: Path, capfd: pytest.CaptureFixture[str], planar: int) -> None:
    strips = [bytes(64)] * 3 if planar == 2 else [bytes(192)]
    data = tiff_file((8, 8), [8, 8, 8], 2, strips, tag_284=planar)
    assert (read_picture(written(tmp_path / "a.tif", data))[0] == 0).all()
    with pytest.raises(SourceError, match="incomplete"):
        read_picture(written(tmp_path / "b.tif", data[:-1]))
    assert capfd.readouterr().err == ""


def test_a_tiff_with_a_nonsensical_length_is_read(tmp_path: Path) -> None:
    data = tiff_file((8, 8), [8, 8, 8], 2, [bytes(192)])
    entry = struct.pack("<HHI", 279, 4, 1)
    wrong = data.replace(entry + struct.pack("<I", 192), entry + struct.pack("<I", 35_711_440))
    assert wrong != data
    assert (read_picture(written(tmp_path / "a.tif", wrong))[0] == 0).all()


@pytest.mark.parametrize("kind", ["png", "bmp", "tif"])
def test_decompression_bombs_are_refused(tmp_path: Path, kind: str) -> None:
    data = {
        "png": png_file((30_000, 30_000), 8, 2, []),
        "bmp": bmp_file((30_000, 30_000), 32, 3, b"", struct.pack("<3I", 0x3FF00000, 0xFFC00, 0x3FF)),
        "tif": tiff_file((30_000, 30_000), [8], 1, [b"\0"]),
    }[kind]
    with pytest.raises(SourceError, match=r"268,435,456 pixels|damaged") as caught:
        read_picture(written(tmp_path / f"a.{kind}", data))
    assert "\n" not in str(caught.value)


@pytest.mark.parametrize("name", ["a.png", "a.tga", "a.jpg", "a"])
def test_a_text_is_not_a_picture(tmp_path: Path, name: str) -> None:
    with pytest.raises(SourceError, match="not a picture"):
        read_picture(written(tmp_path / name, b"\x00\x00\x02 this is a letter, " * 40))


def test_heic_without_its_extra_names_the_extra(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    picture().save(tmp_path / "a.heic")
    formats = tuple(name for name in picture_decoder._prepare_pillow() if name != "HEIF")
    monkeypatch.setattr(picture_decoder, "_prepare_pillow", lambda: formats)
    with pytest.raises(SourceError, match="HEIC") as caught:
        read_picture(tmp_path / "a.heic")
    assert "pip install" in caught.value.hint and "[heif]" in caught.value.hint


@pytest.mark.parametrize("mode", ["F", "I"])
def test_scientific_pixels_are_refused(tmp_path: Path, mode: str) -> None:
    Image.new(mode, (24, 24)).save(tmp_path / "a.tif")
    with pytest.raises(SourceError, match="pixels"):
        read_picture(tmp_path / "a.tif")
