"""Planes to RGB and back: against the standard's equations, and against FFmpeg's scaler."""

from __future__ import annotations

import cv2
import numpy as np
import pytest
from av import VideoFrame
from av.video.reformatter import VideoReformatter

from engines.base import RGB
from rtstyle.media.colour import BT601_525, BT709, BT2020, SMPTE240M, ColourTags, RgbReader, YuvWriter
from rtstyle.media.yuv_planes import frame_of, rgb_of

LIMITED, FULL = 1, 2

READ = ("yuv420p", "yuvj420p", "yuv422p", "yuvj422p", "yuv444p", "yuvj444p", "nv12")


def scene(height: int = 54, width: int = 94) -> RGB:
    """Soft colours of all kinds, and an edge."""
    small = np.random.default_rng(3).integers(0, 256, (7, 11, 3), np.uint8)
    rgb = cv2.resize(small, (width, height), interpolation=cv2.INTER_LINEAR)
    rgb[:, width // 2 :] //= 2
    return rgb


def scaled(rgb: RGB, pixel_format: str, matrix: int, value_range: int) -> VideoFrame:
    frame = VideoReformatter().reformat(
        VideoFrame.from_ndarray(rgb, "rgb24"),
        format=pixel_format, dst_colorspace=ColourTags(matrix).scaler_matrix, dst_color_range=value_range,
    )  # fmt: skip
    frame.colorspace, frame.color_range = matrix, value_range
    return frame


def by_scaler(frame: VideoFrame) -> RGB:
    """Convert by way of 16 bits for each sample, which is left to the scaler."""
    pixel_format, value_range = f"yuv{frame.format.name.lstrip('yuvj')[:3]}p16le", int(frame.color_range)
    deep = VideoReformatter().reformat(
        frame,
        format="yuv420p16le" if frame.format.name == "nv12" else pixel_format,
        src_color_range=value_range, dst_color_range=value_range,
    )  # fmt: skip
    deep.colorspace, deep.color_range = frame.colorspace, value_range
    return RgbReader()(deep, frame.height, frame.width)


@pytest.mark.parametrize("matrix", [BT709, 4, BT601_525, SMPTE240M, BT2020])
@pytest.mark.parametrize("full", [False, True])
def test_flat_colours_follow_the_standard(matrix: int, full: bool) -> None:
    red, blue = {BT709: (0.2126, 0.0722), 4: (0.3, 0.11), BT601_525: (0.299, 0.114), SMPTE240M: (0.212, 0.087)}.get(
        matrix, (0.2627, 0.0593)
    )
    low, high = (0, 255) if full else (16, 235)
    y, cb, cr = np.random.default_rng(1).integers(low, high + 1, (3, 500)).astype(np.float64)
    frame = VideoFrame(500, 2, "yuv444p")
    for plane, values in zip(frame.planes, (y, cb, cr), strict=True):
        np.frombuffer(plane, np.uint8).reshape(-1, plane.line_size)[:, :500] = values  # padded rows
    luma = (y - (0 if full else 16)) / (255 if full else 219)
    pb, pr = (cb - 128) / (255 if full else 224), (cr - 128) / (255 if full else 224)
    r, b = luma + 2 * (1 - red) * pr, luma + 2 * (1 - blue) * pb
    g = (luma - red * r - blue * b) / (1 - red - blue)
    got = rgb_of(frame, matrix, full)
    assert got is not None
    apart = got[0] - np.clip(255 * np.stack([r, g, b], -1), 0, 255)
    assert np.abs(apart).max() < 0.7 and abs(apart.mean()) < 0.05


@pytest.mark.parametrize("pixel_format", READ)
def test_reads_as_the_scaler_does(pixel_format: str) -> None:
    value_range = FULL if pixel_format.startswith("yuvj") else LIMITED
    frame = scaled(scene(), pixel_format, BT709, value_range)
    assert rgb_of(frame, BT709, value_range == FULL) is not None
    apart = RgbReader()(frame, 54, 94).astype(np.int16) - by_scaler(frame)
    assert np.abs(apart).max() <= 3 and np.abs(apart).mean() < 0.6


def test_an_odd_size_is_a_larger_picture_that_is_cut() -> None:
    whole, cut = scaled(scene(), "yuv420p", BT709, LIMITED), VideoFrame(93, 53, "yuv420p")
    for larger, plane in zip(whole.planes, cut.planes, strict=True):
        rows = np.frombuffer(larger, np.uint8).reshape(-1, larger.line_size)[: plane.height, : plane.width]
        np.frombuffer(plane, np.uint8).reshape(-1, plane.line_size)[:, : plane.width] = rows
    got, expected = rgb_of(cut, BT709, full=False), rgb_of(whole, BT709, full=False)
    assert got is not None and expected is not None
    np.testing.assert_array_equal(got, expected[:53, :93])


@pytest.mark.parametrize("pixel_format", ["yuv420p", "nv12"])
@pytest.mark.parametrize("matrix", [BT709, BT601_525])
def test_writes_the_mean_colour_of_four_pixels(pixel_format: str, matrix: int) -> None:
    rgb = scene()
    frame = YuvWriter(ColourTags(matrix), pixel_format, *rgb.shape[:2])(rgb)
    assert (frame.format.name, frame.colorspace, frame.color_range) == (pixel_format, matrix, LIMITED)
    red, blue = {BT709: (0.2126, 0.0722), BT601_525: (0.299, 0.114)}[matrix]

    def luma(x: np.ndarray) -> np.ndarray:
        return x @ np.array([red, 1 - red - blue, blue])

    mean = rgb.reshape(27, 2, 47, 2, 3).mean((1, 3))
    cb, cr = (mean[..., 2] - luma(mean)) / (2 - 2 * blue), (mean[..., 0] - luma(mean)) / (2 - 2 * red)
    y, *chroma = (np.frombuffer(plane, np.uint8).reshape(-1, plane.line_size) for plane in frame.planes)
    got = [chroma[0][:27, :94:2], chroma[0][:27, 1:94:2]] if pixel_format == "nv12" else [c[:27, :47] for c in chroma]
    assert np.abs(y[:54, :94] - (16 + 219 / 255 * luma(rgb))).max() < 0.7
    for samples, exact in zip(got, (cb, cr), strict=True):
        apart = samples - (128 + 224 / 255 * exact)
        assert np.abs(apart).max() < 1.2 and abs(apart.mean()) < 0.1


def test_a_round_trip_neither_darkens_nor_tints() -> None:
    rgb = cv2.GaussianBlur(scene(360, 640), (0, 0), 8)
    back = RgbReader()(YuvWriter(ColourTags(BT709), "yuv420p", 360, 640)(rgb), 360, 640)
    assert np.abs(np.mean(back.astype(np.float64) - rgb, (0, 1))).max() < 0.2
    grey = np.repeat(np.arange(256, dtype=np.uint8)[None, :, None], 4, 0).repeat(3, 2)
    frame = frame_of(grey, BT709, "yuv420p")
    assert frame is not None
    back = RgbReader()(frame, 4, 256)
    assert np.ptp(back, axis=2).max() == 0 and np.abs(back.astype(np.int16) - grey).max() <= 1


def test_what_is_left_to_the_scaler() -> None:
    for pixel_format in ("yuv420p10le", "gray", "yuva420p", "rgb24", "uyvy422"):
        frame = VideoFrame(16, 16, pixel_format)
        assert rgb_of(frame, BT709, full=False) is None
        assert RgbReader()(frame, 16, 16).shape == (16, 16, 3)
    assert rgb_of(VideoFrame(16, 16, "yuv420p"), 8, full=False) is None  # YCgCo
    assert frame_of(scene(15, 16), BT709, "yuv420p") is None
    assert frame_of(scene(), BT709, "yuv420p10le") is None


def test_nothing_is_kept_of_the_decoders_memory() -> None:
    """A decoder reuses its frames."""
    frame = scaled(scene(), "yuv444p", BT709, LIMITED)
    rgb = rgb_of(frame, BT709, full=False)
    assert rgb is not None and rgb.flags.c_contiguous
    before = rgb.copy()
    for plane in frame.planes:
        np.frombuffer(plane, np.uint8)[:] = 7
    np.testing.assert_array_equal(rgb, before)
