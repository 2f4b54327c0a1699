"""Open a clip so that a chip decodes it, or the processor where no chip can."""

from __future__ import annotations

import logging
from functools import cache

import av
from av.codec.hwaccel import HWAccel, hwdevices_available
from av.container import InputContainer
from av.video.codeccontext import VideoCodecContext

from rtstyle.media.container import open_input
from rtstyle.media.hardware import complaint

logger = logging.getLogger(__name__)

DEVICES = ("cuda", "videotoolbox", "d3d11va", "qsv", "vaapi")
"""FFmpeg's names of devices that decode, in the order in which ``auto`` tries them."""

HWACCELS = ("none", "auto", *DEVICES)
"""What may decode."""


def open_accelerated(name: str, wanted: str) -> InputContainer:
    """Open a file or URL; its pictures come to memory in any case.

    Args:
        name: file or URL.
        wanted: one of ``HWACCELS``. A device that does not work here is replaced by the processor, with a line.

    Raises:
        SourceError: it cannot be opened.
    """
    for device in _devices(wanted):
        if not device_fault(device):
            return open_input(name, HWAccel(device, allow_software_fallback=True))
    if wanted != "none":
        _say_once(wanted)
    return open_input(name)


@cache
def device_fault(device: str) -> str:
    """Return why a device cannot decode H.264 on this machine; empty if it can be opened."""
    if device not in hwdevices_available():
        return "this build of FFmpeg does not have it"
    return complaint(lambda: HWAccel(device).create(av.Codec("h264", "r")))


def check_accelerated(codec: VideoCodecContext, wanted: str) -> None:
    """Say that the processor decodes a codec which the chip does not know."""
    if wanted != "none" and not codec.is_hwaccel and not all(device_fault(device) for device in _devices(wanted)):
        logger.warning("the chip cannot decode %s; the processor decodes", codec.name)


def _devices(wanted: str) -> tuple[str, ...]:
    return DEVICES if wanted == "auto" else () if wanted == "none" else (wanted,)


@cache
def _say_once(wanted: str) -> None:
    reason = "no chip decodes here" if wanted == "auto" else f"{wanted} cannot decode here: {device_fault(wanted)}"
    logger.warning("%s; the processor decodes", reason)
