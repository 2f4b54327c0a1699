"""Mixes of styles as text, and where they are loaded."""

from __future__ import annotations

import logging
import shutil
from pathlib import Path

import numpy as np
import pytest

import rtstyle
from engines.errors import StyleError
from engines.mixing.mixed_style import MixedStyle
from engines.style_file import StyleModel
from rtstyle import style_library
from rtstyle.controls import Controls
from rtstyle.style_mix import Mix


@pytest.mark.parametrize(
    ("text", "canonical", "caption"),
    [
        ("vangogh", "vangogh", "vangogh"),
        ("vangogh:0.6+wave:0.4", "vangogh:0.6+wave:0.4", "vangogh 60 % + wave 40 %"),
        ("vangogh + wave", "vangogh:0.5+wave:0.5", "vangogh 50 % + wave 50 %"),
        ("vangogh:3+wave:1", "vangogh:0.75+wave:0.25", "vangogh 75 % + wave 25 %"),
        ("wave:0.2+vangogh:0.6+wave:0.2", "wave:0.4+vangogh:0.6", "wave 40 % + vangogh 60 %"),
        ("vangogh:1+wave:0", "vangogh", "vangogh"),
        ("wave:0.3", "wave", "wave"),
        ("Wave+VANGOGH", "wave:0.5+vangogh:0.5", "wave 50 % + vangogh 50 %"),
        ("udnie+wave+mosaic", "udnie:0.3334+wave:0.3333+mosaic:0.3333", "udnie 33.3 % + wave 33.3 % + mosaic 33.3 %"),
        ("Wave@0.50", "wave@0.5", "wave (texture 50 %)"),
        (
            "wave@1:3+vangogh@0:1",
            "wave@1:0.75+vangogh@0:0.25",
            "wave (texture 100 %) 75 % + vangogh (texture 0 %) 25 %",
        ),
        ("wave@0.501:1+wave@0.5:1+udnie:2", "wave@0.5:0.5+udnie:0.5", "wave (texture 50 %) 50 % + udnie 50 %"),
        ("wave@-0", "wave@0", "wave (texture 0 %)"),
        ("/home/me@work/mine", "/home/me@work/mine", "/home/me@work/mine"),
        (r"C:\styles\mine+wave", r"C:\styles\mine:0.5+wave:0.5", r"C:\styles\mine 50 % + wave 50 %"),
    ],
)
def test_reads_mixes(text: str, canonical: str, caption: str) -> None:
    mix = style_library.parse(text)
    assert str(mix) == canonical and mix.caption == caption
    assert style_library.parse(canonical) == mix and abs(sum(share for _, share in mix.parts) - 1) < 1e-9


@pytest.mark.parametrize(
    ("text", "told"),
    [
        ("vangogh:-0.1+wave:1", "the weight of vangogh is -0.1 .give 0 or more"),
        ("vangogh:nan+wave:1", "the weight of vangogh is nan"),
        ("vangogh:inf+wave:1", "the weight of vangogh is inf"),
        ("vangogh:0+wave:0", "the weights of the mix sum to 0"),
        ("vangogh:half+wave:1", "the weight of vangogh is not a number: 'half'"),
        ("vangogh:0.6+wave", "wave has no weight in 'vangogh:0.6.wave'"),
        ("a1+a2+a3+a4+a5+a6+a7+a8+a9", "a mix of 9 styles is too many .mix 8 at most"),
        ("vangogh+wavy", "there is no style 'wavy' .did you mean wave"),
        ("vangogh+", "the name of the style is empty"),
        ("wave@2", "the texture of wave is 2 .give a value from 0 to 1"),
        ("wave@nan", "the texture of wave is nan"),
        ("wave@half", "the texture of wave is not a number: 'half'"),
        ("wave@0.2:half+udnie:1", "the weight of wave@0.2 is not a number"),
        ("@0.5", "the name of the style is empty"),
        ("wavy@0.5", "there is no style 'wavy' .did you mean wave"),
        ("wave@0_5", "the texture of wave is not a number: '0_5'"),
        ("wave@0.5@0.2", "there is no style 'wave@0.5'|no texture or mix can stand here: wave@0.5"),
        ("wave@0.2+wave@0.9", "wave is named with two textures"),
        ("wave@0.2+wave", "wave is named with two textures"),
    ],
)
def test_says_what_is_wrong(text: str, told: str) -> None:
    with pytest.raises(StyleError, match=told):
        style_library.open_style(text)


def test_weights_that_do_not_sum_to_1_are_said(caplog: pytest.LogCaptureFixture) -> None:
    with caplog.at_level(logging.INFO, "rtstyle.style_library"):
        assert style_library.spelled("vangogh+wave") == "vangogh:0.5+wave:0.5"
        assert not caplog.messages
        assert style_library.spelled("vangogh:3+wave:1") == "vangogh:0.75+wave:0.25"
    assert caplog.messages == ["the weights of the mix do not sum to 1; it is vangogh 75 % + wave 25 %"]


def test_a_folder_mixes_and_one_of_another_shape_does_not(tiny_style: Path) -> None:
    mixed = style_library.open_style(f"{style_library.GALLERY / 'wave'}+vangogh")
    assert isinstance(mixed, MixedStyle) and mixed.name == "wave-50-vangogh-50"
    with pytest.raises(StyleError, match="tiny and vangogh do not mix"):
        style_library.open_style(f"{tiny_style}:0.5+vangogh:0.5")
    assert type(style_library.open_style("wave:2")) is StyleModel


def test_the_identity_of_a_mix_is_names_shares_and_files(tiny_style: Path) -> None:
    def name(style: str) -> str:
        return style_library.identify(style, "cpu")["style"]

    assert name("vangogh:0.6+wave:0.4") == name("wave:4+vangogh:6") != name("vangogh:0.4+wave:0.6")
    alone = [name(one) for one in ("vangogh", "wave")]
    assert name("vangogh:0.6+wave:0.4") == f"{alone[0]} 60 % + {alone[1]} 40 %"


def test_the_way_between_two_mixes() -> None:
    one, other = Mix.parse("vangogh:0.5+wave:0.5"), Mix.parse("wave")
    assert one.distance(other) == pytest.approx(0.5) and one.distance(one) == 0
    assert str(one.toward(other, 0.5)) == "vangogh:0.25+wave:0.75"
    assert one.toward(other, 1.0) == other and str(other.toward(one, 0.0)) == "wave"


def test_python_loads_a_mix() -> None:
    photo = np.full((64, 96, 3), 90, np.uint8)
    with rtstyle.load("vangogh:0.5+wave:0.5", "cpu") as mixed, rtstyle.load("wave", "cpu") as alone:
        assert mixed.info.style == "vangogh-50-wave-50"
        assert np.abs(mixed(photo).astype(int) - alone(photo)).mean() > 3


def test_a_texture_follows_a_name_or_a_folder_and_is_part_of_the_identity(tmp_path: Path) -> None:
    wave, more = style_library.open_style("wave"), style_library.open_style("wave@0.6")
    assert (wave.texture, more.texture) == (style_library.texture_of("wave"), 0.6)
    folder = f"{style_library.GALLERY / 'wave'}@0.6"
    assert style_library.open_style(folder).weights_sha256() == more.weights_sha256()
    assert style_library.identify("wave@0.6", "cpu") != style_library.identify("wave", "cpu")
    assert style_library.identify("wave@0.60", "cpu") == style_library.identify(
        style_library.spelled("wave@0.6"), "cpu"
    )
    copy = tmp_path / "mine@0.5"  # a folder of that very name
    shutil.copytree(style_library.GALLERY / "wave", copy)
    assert style_library.open_style(str(copy)).texture == wave.texture
    assert style_library.choices(["wave"], [str(copy), "wave@0.3:0.5+scream@1:0.5"]) == [str(copy), "scream", "wave"]


def test_a_style_that_cannot_be_read_has_no_texture(tmp_path: Path) -> None:
    assert style_library.texture_of(str(tmp_path)) == style_library.texture_of("nothing") == 0.0


def test_a_picture_has_the_texture_that_is_asked_for() -> None:
    wall = np.full((96, 96, 3), 120, np.uint8)
    with rtstyle.load("klimt@0", "cpu:fp32") as none, rtstyle.load("klimt@1", "cpu:fp32") as whole:
        assert none(wall).std((0, 1)).max() < 0.5 * whole(wall).std((0, 1)).max()


def test_a_folder_whose_name_looks_like_a_texture_has_none(tmp_path: Path) -> None:
    folders = [tmp_path / "mine@2", tmp_path / "mine@0.5"]
    for folder in folders:
        shutil.copytree(style_library.GALLERY / "wave", folder)
    for text in (str(folders[0]), f"{folders[1]}+vangogh", f"{folders[1]}@0.3:0.5+{folders[0]}@0.4:0.5"):
        mix = style_library.parse(text)
        assert set(mix.styles) <= {*map(str, folders), "vangogh"} and style_library.parse(str(mix)) == mix
        assert style_library.open_style(text).arch
    assert style_library.open_style(f"{folders[1]}@0.3").texture == 0.3
    assert Controls(styles=[str(folders[0])], style=str(folders[0])).mix.main == str(folders[0])


def test_the_way_between_two_textures_is_one_style() -> None:
    start, end = Mix.parse("wave@0.2:0.5+udnie:0.5"), Mix.parse("wave@0.8:0.7+scream@0:0.3")
    assert str(start.toward(end, 0.5)) == "wave@0.5:0.6+udnie:0.25+scream@0:0.15"
    assert str(Mix.parse("wave").toward(Mix.parse("wave@1"), 0.4)) == "wave"
    assert str(Mix.parse("wave").toward(Mix.parse("wave@1"), 0.6)) == "wave@1"
    assert Mix.parse("wave@0.2").distance(Mix.parse("wave@1")) == 0.0 and start.distance(end) == pytest.approx(0.5)


@pytest.mark.parametrize("style", ["wave@0.5", "vangogh+wave"])
def test_what_takes_one_style_as_it_is_says_so(style: str) -> None:
    with pytest.raises(StyleError, match="no texture or mix can stand here: .* .give one style as it is"):
        style_library.find(style)
