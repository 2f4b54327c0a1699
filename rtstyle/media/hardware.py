"""Find out which encoders in hardware work on this machine, by encoding a few frames with them."""

from __future__ import annotations

import logging
from collections.abc import Callable
from contextlib import suppress
from fractions import Fraction
from functools import cache

import av
import av.logging
from av import VideoFrame
from av.video.codeccontext import VideoCodecContext

from engines.errors import ConfigError
from rtstyle.media.codecs import CODECS, ENCODERS, FAMILIES, HARDWARE, Codec

logger = logging.getLogger(__name__)

TRIAL_FRAMES = 3
"""Frames that an encoder must take before it counts as working."""

TRIAL_SIZE = 640, 360
"""Size to try where the real one does not matter, pixels."""


def check_encoder(codec: Codec, encoder: str) -> None:
    """Check that a codec and what encodes it agree, without trying it.

    Raises:
        ConfigError: an unknown encoder, or one that does not have this codec.
    """
    if encoder not in ENCODERS:
        raise ConfigError(f"unknown encoder {encoder!r}", hint=f"choose from {', '.join(ENCODERS)}")
    if codec.family != "software" and encoder not in ("software", codec.family):
        raise ConfigError(
            f"{codec.full_name} and the encoder {encoder} exclude each other", hint="leave one of them out"
        )
    if encoder in FAMILIES and codec.name not in FAMILIES[encoder].codecs:
        raise ConfigError(f"{encoder} cannot encode {codec.name}", hint=f"it has {', '.join(FAMILIES[encoder].codecs)}")


def pick(codec: Codec, encoder: str, width: int, height: int) -> Codec:
    """Return what really encodes a codec at a size in pixels.

    Args:
        codec: from ``codecs.choose``.
        encoder: one of ``codecs.ENCODERS``; ``auto`` takes the first in hardware that works, or says why there is none.
        width: of the frames.
        height: of the frames.

    Raises:
        ConfigError: the wanted encoder does not work here.
    """
    check_encoder(codec, encoder)
    if encoder == "auto":
        return _automatic(codec.name, width, height)
    wanted = codec if encoder == "software" else HARDWARE[f"{codec.name}_{encoder}"]
    if wanted.family == "software":
        return wanted
    problem = fault(wanted.full_name, width, height)
    if problem:
        others = [name for name in working(width, height) if name.startswith(codec.name)]
        hint = (
            f"{', '.join(others)} works"
            if others
            else f"--codec {codec.name} (in Python: codec='{codec.name}') encodes in software"
        )
        raise ConfigError(f"{wanted.full_name} does not work here: {problem}", hint=hint)
    return wanted


@cache
def _automatic(name: str, width: int, height: int) -> Codec:
    """Choose once, so that it is said once."""
    candidates = [codec for codec in HARDWARE.values() if codec.name == name and codec.encoder in av.codecs_available]
    for codec in candidates:
        if not fault(codec.full_name, width, height):
            logger.info("%s encodes", codec.full_name)
            return codec
    logger.warning("no hardware encoder for %s works here; %s encodes", name, CODECS[name].encoder)
    return CODECS[name]


def working(width: int = TRIAL_SIZE[0], height: int = TRIAL_SIZE[1]) -> list[str]:
    """Return the encoders in hardware that work at a size in pixels."""
    return [name for name in HARDWARE if not fault(name, width, height)]


@cache
def fault(name: str, width: int, height: int) -> str:
    """Return why an encoder in hardware cannot encode frames of a size in pixels; empty if it can."""
    codec = HARDWARE[name]
    if codec.encoder not in av.codecs_available:
        return "this build of FFmpeg does not have it"
    pixel_format = codec.format_for(width, height)
    if not pixel_format:
        return "it needs an even width and height"
    return complaint(lambda: _encode(codec, width, height, pixel_format))


def complaint(action: Callable[[], object]) -> str:
    """Try something, and return the first line that FFmpeg logs if it fails; empty if it works."""
    level = av.logging.get_level()
    av.logging.set_level(av.logging.ERROR)
    try:
        with av.logging.Capture() as log:
            try:
                action()
            except (av.FFmpegError, OSError, ValueError, NotImplementedError) as error:
                lines = [" ".join(text.split()) for _, _, text in log]
                return lines[0] if lines else str(getattr(error, "strerror", None) or error)
    finally:
        av.logging.set_level(level)
    return ""


def _encode(codec: Codec, width: int, height: int, pixel_format: str) -> None:
    """Encode some grey frames; raise ValueError if nothing comes out."""
    context = VideoCodecContext.create(codec.encoder, "w")
    assert isinstance(context, VideoCodecContext)
    context.width, context.height, context.pix_fmt = width, height, pixel_format
    context.time_base, context.framerate = Fraction(1, 25), Fraction(25)
    context.options = codec.encoder_options(None, None)
    frame = VideoFrame(width, height, pixel_format)
    for plane in frame.planes:
        plane.update(bytes([128]) * plane.buffer_size)
    count = 0
    for number in range(TRIAL_FRAMES):
        frame.pts, frame.time_base = number, context.time_base
        count += len(context.encode(frame))
    with suppress(av.EOFError):
        count += len(context.encode(None))
    if not count:
        raise ValueError("it returned nothing")
