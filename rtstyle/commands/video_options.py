"""Options of ``rtstyle video``."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import Annotated

import typer

from rtstyle.commands import options
from rtstyle.commands.values import BYTES, LEAST_HEIGHT, RATE, SIZE, TIME, Size, choice, number, whole

# What to stylize.
Clips = Annotated[
    list[str],
    typer.Argument(
        metavar="IN",
        help="A video file, a URL, numbered pictures like frames/%06d.png, - for standard input, or `pattern`, a "
        "built-in scene; or several files, or folders with all clips below them.",
    ),
]
Start = Annotated[float | None, typer.Option(metavar="TIME", parser=TIME, help="Start here, in seconds or like 1:30.")]
End = Annotated[float | None, typer.Option(metavar="TIME", parser=TIME, help="Stop here.")]
VideoStream = Annotated[
    int | None,
    typer.Option(
        metavar="N", parser=whole(1), help="Which video stream of the input, if it has several. [default: the film]"
    ),
]

HardwareDecoding = Annotated[
    str,
    typer.Option(
        metavar="none|auto|cuda|vaapi|qsv|videotoolbox|d3d11va",
        help="Let a chip decode the input; the processor does where it cannot.",
    ),
]
Fps = Annotated[
    float | None,
    typer.Option(metavar="N", parser=RATE, help="Rate of numbered pictures, or of raw video. [default: 25]"),
]
PipeSize = Annotated[
    Size | None, typer.Option("--size", metavar="WxH", parser=SIZE, help="Frame size of raw video on standard input.")
]
PipeFormat = Annotated[
    str | None,
    typer.Option(
        metavar="y4m|rawvideo",
        help="Format of what is piped, in and out; rawvideo is 24-bit RGB and needs --size and --fps to be read. "
        "[default: y4m out; in, also Matroska and MPEG-TS]",
    ),
]

# What to write.
Output = Annotated[
    str,
    typer.Argument(
        metavar="OUT",
        help="The file to write; its name ends in .mp4, .m4v, .mov, .mkv or .webm. An animated picture: .gif, .webp, "
        ".apng. Pictures: frames/%06d.png. Or - for standard output. For several clips a folder.",
    ),
]
Height = Annotated[
    int | None,
    typer.Option(metavar="PX", parser=whole(LEAST_HEIGHT), help="Height of the result in pixels; smaller is faster."),
]
Resume = Annotated[bool, typer.Option("--resume", help="Go on with an interrupted run, if there is one.")]
Segment = Annotated[
    float,
    typer.Option(
        "--segment",
        metavar="SECONDS",
        parser=number(0, 3600),
        help="Keep what is done in segments of this length, so that an interrupted run can be resumed; 0 does not.",
    ),
]
JobDir = Annotated[Path | None, typer.Option(metavar="DIR", help="Folder of the segments. [default: OUT.rtstyle-job]")]
Preview = Annotated[
    int | None,
    typer.Option(
        metavar="N",
        parser=whole(1, 24),
        help="Only show N stills of the clip, in OUT with the ending .preview.jpg, and say how long the whole will "
        "take and how large it will be.",
    ),
]
NoAudio = Annotated[bool, typer.Option("--no-audio", help="Leave the sound out.")]

# The encoder.
Codec = Annotated[
    str | None,
    typer.Option(
        metavar="h264|hevc|av1|vp9|prores|ffv1",
        help="Video codec, or an encoder like h264_nvenc. [default: suits the file type]",
    ),
]
Crf = Annotated[
    int | None,
    typer.Option(
        metavar="N",
        parser=whole(0),
        help="Quality of the encoder: a lower number looks better and makes a larger file. Good values are 18 to 28 "
        "for h264 and hevc, 24 to 40 for av1 and vp9.",
    ),
]
TargetSize = Annotated[
    int | None,
    typer.Option(
        "--target-size", metavar="SIZE", parser=BYTES, help="Largest size of the file, like 25MB, instead of --crf."
    ),
]
Preset = Annotated[
    str | None,
    typer.Option(
        metavar="NAME", help="Speed of the encoder, for example veryfast or slow; slower makes smaller files."
    ),
]
Container = Annotated[
    str | None,
    typer.Option(
        metavar="mp4|mkv|mov|webm",
        parser=choice("mp4", "mkv", "mov", "webm"),
        help="File type of the clips in a folder. [default: that of the input, or mp4]",
    ),
]


@dataclass(frozen=True)
class Reading:
    """What to read of the clip, and how."""

    start: Start = None
    end: End = None
    video_stream: VideoStream = None
    hwaccel: HardwareDecoding = "none"
    fps: Fps = None
    size: PipeSize = None
    pipe_format: PipeFormat = None


@dataclass(frozen=True)
class Encoding:
    """How to encode the result."""

    codec: Codec = None
    encoder: options.Encoder = "software"
    crf: Crf = None
    preset: Preset = None
    bits: options.Bitrate = None
    target_bytes: TargetSize = None


@dataclass(frozen=True)
class Resuming:
    """How an interrupted run goes on."""

    resume: Resume = False
    segment_s: Segment = 20.0
    job_dir: JobDir = None
