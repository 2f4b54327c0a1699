"""Names of codecs, as people write them."""

from __future__ import annotations

from pathlib import Path

import pytest

from engines.errors import ConfigError
from rtstyle.media.codecs import choose


@pytest.mark.parametrize(
    ("written", "name"),
    [
        ("h265", "hevc"),
        ("HEVC", "hevc"),
        ("x265", "hevc"),
        ("x264", "h264"),
        ("avc", "h264"),
        ("H264", "h264"),
        ("AV1", "av1"),
        ("H.264", "h264"),
        ("avc1", "h264"),
        ("HVC1", "hevc"),
        ("hev1", "hevc"),
        ("av01", "av1"),
        ("VP09", "vp9"),
        ("libx265", "hevc"),
    ],
)
def test_other_names_of_a_codec(written: str, name: str) -> None:
    assert choose(Path("a.mp4"), written)[1].name == name


def test_a_container_refuses_a_codec_by_its_other_name_too() -> None:
    with pytest.raises(ConfigError, match=r"\.webm cannot hold hevc"):
        choose(Path("a.webm"), "H265")
