"""Colours of pictures: every embedded profile becomes sRGB, and the answer is known by calculation."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt
import pytest
from PIL import Image, ImageCms

from engines.base import RGB
from rtstyle.media.hdr import ToneMapper, encode_srgb
from rtstyle.media.image_files import read_picture
from tests.rtstyle.picture_bytes import D50, cmyk_profile, corners, grey_profile, rgb_profile

SRGB = np.array([(0.43607, 0.22249, 0.01392), (0.38515, 0.71687, 0.09708), (0.14307, 0.06061, 0.71410)])
"""XYZ of red, green and blue, adapted to D50."""

SPACES = {
    "AdobeRGB": (((0.60974, 0.31111, 0.01947), (0.20528, 0.62567, 0.06087), (0.14919, 0.06322, 0.74457)), 2.19921875),
    "Display P3": (((0.51512, 0.24120, -0.00105), (0.29198, 0.69225, 0.04189), (0.15710, 0.06657, 0.78407)), 2.2),
    "ProPhoto": (((0.79767, 0.28804, 0.0), (0.13519, 0.71188, 0.0), (0.03135, 0.00009, 0.82491)), 1.80078125),
}


def colours() -> RGB:
    """Moderate colours, which all spaces hold."""
    red, green = np.meshgrid(np.linspace(60, 190, 24), np.linspace(60, 190, 16))
    return np.dstack([red, green, np.full_like(red, 110)]).round().astype(np.uint8)


def from_xyz(xyz: npt.NDArray[np.float64]) -> npt.NDArray[np.float64]:
    return encode_srgb(np.clip(xyz @ np.linalg.inv(SRGB), 0, 1)) * 255


def from_lab(lab: tuple[float, float, float]) -> npt.NDArray[np.float64]:
    """CIE 15, equations 8.3 to 8.5 the other way round."""
    middle = (lab[0] + 16) / 116
    f = np.array([middle + lab[1] / 500, middle, middle - lab[2] / 200])
    return from_xyz(np.where(f > 6 / 29, f**3, 3 * (6 / 29) ** 2 * (f - 4 / 29)) * D50)


def saved(path: Path, picture: Image.Image, **settings: Any) -> Path:
    picture.save(path, **settings)
    return path


@pytest.mark.parametrize("suffix", [".png", ".tif", ".webp", ".jpg"])
@pytest.mark.parametrize("space", SPACES)
def test_other_rgb_spaces_become_srgb(tmp_path: Path, space: str, suffix: str) -> None:
    primaries, exponent = SPACES[space]
    options = {".webp": {"lossless": True}, ".jpg": {"quality": 100, "subsampling": 0}}.get(suffix, {})
    profile = rgb_profile(primaries, exponent)
    path = saved(tmp_path / f"a{suffix}", Image.fromarray(colours()), icc_profile=profile, **options)
    expected = from_xyz((colours() / 255.0) ** exponent @ np.array(primaries))
    assert np.abs(expected - colours()).max() > 15
    difference = np.abs(read_picture(path)[0] - expected)
    assert difference.mean() < 1.5 if suffix == ".jpg" else difference.max() < 2


@pytest.mark.parametrize("mode", ["L", "LA"])
def test_a_grey_profile_is_applied(tmp_path: Path, mode: str) -> None:
    grey = np.tile(np.arange(0, 256, 4, dtype=np.uint8), (16, 1))
    picture = Image.fromarray(grey).convert(mode)
    if mode == "LA":
        picture.putalpha(Image.fromarray(255 - grey))
    path = saved(tmp_path / "grey.png", picture, icc_profile=grey_profile(1.5))
    rgb, alpha = read_picture(path)
    expected = encode_srgb((grey / 255.0) ** 1.5) * 255
    if mode == "LA":
        assert alpha is not None and np.array_equal(alpha, 255 - grey)
        expected = expected * (alpha / 255) + 255 - alpha
    assert np.abs(rgb - expected[..., None]).max() < 2


def test_a_grey_picture_may_have_a_profile_of_a_display(tmp_path: Path) -> None:
    grey = np.tile(np.arange(0, 256, 4, dtype=np.uint8), (16, 1))
    path = saved(tmp_path / "a.png", Image.fromarray(grey), icc_profile=rgb_profile(*SPACES["ProPhoto"]))
    expected = encode_srgb((grey / 255.0) ** 1.80078125) * 255
    assert np.abs(read_picture(path)[0] - expected[..., None]).max() < 2


@pytest.mark.parametrize("name", ["a.tif", "a.jpg"])
def test_the_profile_of_a_press_is_applied(tmp_path: Path, name: str) -> None:
    red = (50.0, 60.0, 40.0)
    ink = np.zeros((16, 16, 4), np.uint8)
    ink[:8, :, 0] = 255
    options = {"quality": 100, "subsampling": 0} if name == "a.jpg" else {}
    picture = Image.frombytes("CMYK", (16, 16), ink.tobytes())
    path = saved(tmp_path / name, picture, icc_profile=cmyk_profile(red), **options)
    rgb, _ = read_picture(path)
    assert np.abs(rgb[:8] - from_lab(red)).max() < 5
    assert rgb[8:].min() >= 253


@pytest.mark.parametrize("name", ["a.tif", "a.jpg"])
def test_inks_without_a_profile_are_mixed_plainly(tmp_path: Path, name: str) -> None:
    """Files with CMYK in JPEG are inverted, as Adobe writes them."""
    options = {"quality": 100, "subsampling": 0} if name == "a.jpg" else {}
    path = saved(tmp_path / name, Image.fromarray(corners()).convert("CMYK"), **options)
    assert np.abs(read_picture(path)[0].astype(int) - corners()).max() < 8


def test_lab(tmp_path: Path) -> None:
    values = {(50.0, 60.0, 40.0): 0, (70.0, -40.0, 30.0): 1, (40.0, 20.0, -50.0): 2}
    stored = np.zeros((3, 8, 3), np.uint8)
    for (lightness, a, b), row in values.items():
        stored[row] = (round(lightness * 2.55), int(a) % 256, int(b) % 256)  # signed, TIFF 6.0, section 23
    path = saved(tmp_path / "lab.tif", Image.frombytes("LAB", (8, 3), stored.tobytes()))
    rgb, _ = read_picture(path)
    for lab, row in values.items():
        assert np.abs(rgb[row] - from_lab(lab)).max() < 4


def test_srgb_by_another_name_changes_nothing(tmp_path: Path) -> None:
    named = ImageCms.ImageCmsProfile(ImageCms.createProfile("sRGB")).tobytes()
    rgb = np.random.default_rng(0).integers(0, 256, (32, 32, 3)).astype(np.uint8)
    path = saved(tmp_path / "a.png", Image.fromarray(rgb), icc_profile=named)
    assert np.array_equal(read_picture(path)[0], rgb)


@pytest.mark.parametrize("profile", ["noise", "cut", "of another space", "of a press"])
def test_a_profile_that_does_not_fit_is_ignored(tmp_path: Path, profile: str) -> None:
    data = {
        "noise": b"this is no profile" * 20,
        "cut": rgb_profile(*SPACES["ProPhoto"])[:200],
        "of another space": grey_profile(1.0),
        "of a press": cmyk_profile((50, 60, 40)),
    }[profile]
    path = saved(tmp_path / "a.png", Image.fromarray(colours()), icc_profile=data)
    assert np.array_equal(read_picture(path)[0], colours())


def test_a_palette_with_a_profile(tmp_path: Path) -> None:
    primaries, exponent = SPACES["ProPhoto"]
    flat = np.full((8, 8, 3), (150, 90, 60), np.uint8)
    picture = Image.fromarray(flat).quantize(4)
    path = saved(tmp_path / "a.png", picture, icc_profile=rgb_profile(primaries, exponent))
    expected = from_xyz((flat / 255.0) ** exponent @ np.array(primaries))
    assert np.abs(read_picture(path)[0] - expected).max() < 3


@pytest.mark.parametrize(("transfer", "curve"), [(16, "PQ"), (18, "HLG")])
def test_high_dynamic_range_is_mapped_as_in_video(tmp_path: Path, transfer: int, curve: str) -> None:
    plain = saved(tmp_path / "a.avif", Image.fromarray(colours()), quality=95, subsampling="4:4:4")
    data = plain.read_bytes()
    at = data.index(b"colrnclx") + 8
    bright = tmp_path / "hdr.avif"
    bright.write_bytes(data[:at] + b"\0\x09" + transfer.to_bytes(2, "big") + data[at + 4 :])
    assert np.array_equal(read_picture(bright)[0], ToneMapper(curve)(read_picture(plain)[0]))
