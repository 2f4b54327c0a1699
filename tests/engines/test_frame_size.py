"""Sizes as text."""

from __future__ import annotations

import pytest

from engines.frame_size import parse_size


@pytest.mark.parametrize("text", ["1280x720", "1280X720", "1280×720", " 1280x720 "])
def test_a_size_is_width_and_height(text: str) -> None:
    assert parse_size(text) == (1280, 720)


@pytest.mark.parametrize("text", ["", "1280", "1280x", "x720", "1280x720x3", "-1x5", "axb", "123456x1"])
def test_other_text_is_refused(text: str) -> None:
    with pytest.raises(ValueError, match="is not a size like 1280x720"):
        parse_size(text)
