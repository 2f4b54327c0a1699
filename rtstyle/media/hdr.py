"""Fast tone mapping of high dynamic range video to sRGB.

FFmpeg's scaler can convert HDR, too, but spends five seconds on a table before the first frame.
"""

from __future__ import annotations

import numpy as np
import numpy.typing as npt

from engines.base import RGB

REFERENCE_WHITE_NITS = 203.0
"""Brightness of diffuse white in HDR video. BT.2408-7, section 2.2."""

PEAK_NITS = 1000.0
"""Brightness that maps to the brightest white; higher values are clipped."""

_BT2020_TO_BT709 = np.array(
    [[1.6605, -0.5876, -0.0728], [-0.1246, 1.1329, -0.0083], [-0.0182, -0.1006, 1.1187]], np.float32
)
"""Linear light, BT.2087-0."""

_STEPS = 4096
"""Quantization steps of linear light before the sRGB curve; at black, one is half an 8-bit step."""


def pq_nits(code: npt.NDArray[np.float64]) -> npt.NDArray[np.float64]:
    """Decode the perceptual quantizer, 0…1 → cd/m². SMPTE ST 2084, equation 4.1."""
    m1, m2, c1, c2, c3 = 2610 / 16384, 2523 / 32, 3424 / 4096, 2413 / 128, 2392 / 128
    power = code ** (1 / m2)
    nits: npt.NDArray[np.float64] = 10_000 * (np.maximum(power - c1, 0) / (c2 - c3 * power)) ** (1 / m1)
    return nits


def hlg_nits(code: npt.NDArray[np.float64]) -> npt.NDArray[np.float64]:
    """Decode hybrid log-gamma, 0…1 → cd/m² on a display of 1000.

    Source:
        BT.2100-2, table 5, with its system gamma applied per channel.
    """
    a, b, c = 0.17883277, 0.28466892, 0.55991073
    scene = np.where(code <= 0.5, code**2 / 3, (np.exp((code - c) / a) + b) / 12)
    nits: npt.NDArray[np.float64] = 1000 * scene**1.2
    return nits


def tone_map(nits: npt.NDArray[np.float64]) -> npt.NDArray[np.float64]:
    """Map cd/m² to linear light 0…1: dark parts nearly unchanged, diffuse white at half, ``PEAK_NITS`` at 1.

    Source:
        Reinhard et al. 2002, "Photographic tone reproduction for digital images", equation 4.
    """
    light = nits / REFERENCE_WHITE_NITS
    peak = PEAK_NITS / REFERENCE_WHITE_NITS
    return np.minimum(light * (1 + light / peak**2) / (1 + light), 1.0)


def encode_srgb(light: npt.NDArray[np.float64]) -> npt.NDArray[np.float64]:
    """Encode linear light 0…1 as sRGB 0…1. IEC 61966-2-1."""
    return np.where(light <= 0.0031308, 12.92 * light, 1.055 * light ** (1 / 2.4) - 0.055)


class ToneMapper:
    """Converts pictures with PQ or HLG codes and BT.2020 colours to sRGB.

    Args:
        curve: ``PQ`` or ``HLG``.
    """

    def __init__(self, curve: str) -> None:
        codes = np.arange(256) / 255
        self._light = tone_map(pq_nits(codes) if curve == "PQ" else hlg_nits(codes)).astype(np.float32)
        self._srgb = np.rint(encode_srgb(np.arange(_STEPS) / (_STEPS - 1)) * 255).astype(np.uint8)

    def __call__(self, rgb: RGB) -> RGB:
        """Convert (H, W, 3), uint8 codes, to sRGB of the same shape."""
        light = self._light[rgb].reshape(-1, 3) @ (_BT2020_TO_BT709.T * (_STEPS - 1))
        np.clip(light, 0, _STEPS - 1, out=light)
        mapped: RGB = self._srgb[light.astype(np.uint16)].reshape(rgb.shape)
        return mapped
