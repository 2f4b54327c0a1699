"""GIF in two passes over a lossless film: the first finds the palette."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from contextlib import suppress
from fractions import Fraction
from pathlib import Path

import av
from av import VideoFrame
from av.filter import Graph
from av.filter.context import FilterContext

UNIT_S = Fraction(1, 100)
"""GIF counts hundredths of a second."""

_PALETTE = {"stats_mode": "full", "reserve_transparent": "1"}

_DITHER = {"dither": "bayer", "bayer_scale": "3", "diff_mode": "rectangle", "alpha_threshold": "128"}
"""An ordered pattern stays where it is from picture to picture; error diffusion would shimmer and take more space."""


def write_gif(film: Path, target: Path, times: Sequence[int], end: int) -> None:
    """Write the pictures of a film as a GIF that loops for ever.

    One palette serves all pictures, so that colours do not flicker. Only one picture at a time is in memory.

    Args:
        film: lossless video.
        target: file to write.
        times: of its pictures, in units of ``UNIT_S``.
        end: when the last one ends.

    Raises:
        av.FFmpegError, OSError: it cannot be written.
    """
    palette = _palette(film)
    options = {"loop": "0", "final_delay": str(max(1, end - times[-1]))}
    with av.open(f"file:{target}", "w", format="gif", container_options=options) as output:
        video = output.add_stream("gif")
        context = video.codec_context
        context.width, context.height, context.pix_fmt = palette[0], palette[1], "pal8"
        context.time_base = UNIT_S
        for picture, time in zip(_indexed(film, palette[2]), times, strict=True):
            picture.pts, picture.time_base = time, UNIT_S
            output.mux(video.encode(picture))
        output.mux(video.encode(None))


def _palette(film: Path) -> tuple[int, int, VideoFrame]:
    """Return the width and height of a film, and its palette as a picture."""
    with av.open(f"file:{film}") as container:
        stream = container.streams.video[0]
        graph = Graph()
        source = graph.add_buffer(template=stream, time_base=stream.time_base)
        sink = graph.add("buffersink")
        graph.link_nodes(source, graph.add("palettegen", **_PALETTE), sink).configure()
        for picture in container.decode(stream):
            source.push(picture)
            for _ in _finished(sink):  # the filter takes a picture only when it is asked for its result
                pass
        source.push(None)
        (palette,) = _finished(sink)
        return stream.width, stream.height, palette


def _indexed(film: Path, palette: VideoFrame) -> Iterator[VideoFrame]:
    """Yield the pictures of a film in the colours of a palette."""
    with av.open(f"file:{film}") as container:
        stream = container.streams.video[0]
        graph = Graph()
        source = graph.add_buffer(template=stream, time_base=stream.time_base)
        colours = graph.add_buffer(
            width=palette.width, height=palette.height, format=palette.format, time_base=stream.time_base or UNIT_S
        )
        use, sink = graph.add("paletteuse", **_DITHER), graph.add("buffersink")
        source.link_to(use, 0, 0)
        colours.link_to(use, 0, 1)
        use.link_to(sink, 0, 0)
        graph.configure()
        palette.pts = 0
        colours.push(palette)
        colours.push(None)
        for picture in container.decode(stream):
            source.push(picture)
            yield from _finished(sink)
        source.push(None)
        yield from _finished(sink)


def _finished(sink: FilterContext) -> Iterator[VideoFrame]:
    with suppress(av.BlockingIOError, av.EOFError):
        while True:
            picture = sink.pull()
            assert isinstance(picture, VideoFrame)
            yield picture
