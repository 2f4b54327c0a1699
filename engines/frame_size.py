"""Frame sizes written as text, like ``1280x720``."""

from __future__ import annotations

import re

SIZE = r"\d{1,5}[xX×]\d{1,5}"
"""Regular expression of a size."""


def parse_size(text: str) -> tuple[int, int]:
    """Return the (width, height) that ``WIDTHxHEIGHT`` names, in pixels. Raise ValueError if the text is not a size."""
    if re.fullmatch(SIZE, text.strip()) is None:
        raise ValueError(f"{text!r} is not a size like 1280x720")
    width, height = re.split("[xX×]", text)
    return int(width), int(height)
