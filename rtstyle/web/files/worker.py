"""Program that stylizes one uploaded file, started by ``rtstyle.web.files.work_queue``.

A process of its own can be niced, so that live video keeps its frame rate, ended at any moment, and take nothing with
it when a damaged file crashes a decoder. Whatever it has finished is kept by the segments of ``rtstyle.jobs``.

Standard input: one line of JSON, the fields of ``Task``; its end ends the program. Standard output: lines of JSON, with
the progress, and at last ``{"done": …}`` or ``{"problem": …}``.
"""

from __future__ import annotations

import json
import os
import re
import shutil
import sys
import time
from dataclasses import dataclass
from pathlib import Path
from threading import Thread
from typing import TYPE_CHECKING, Any

from rtstyle.web.worker_reports import Reports

if TYPE_CHECKING:
    from engines.base import Engine
    from rtstyle.video import VideoProgress, VideoReport
    from rtstyle.video_job import VideoJob

REPORT_S = 0.25
"""Seconds between two lines of progress."""

LOCK = "lock"
"""File in the folder that is locked while a process works there."""

LOCK_S = 30.0
"""How long to wait for the process of a server that was killed, seconds; it ends at once."""

LOOK = ("style", "strength", "scale", "colours", "only", "faces")
"""Settings that decide how a result looks."""

CONTAINERS = (
    "mov", "matroska", "avi", "mpegts", "mpeg", "mpegvideo", "asf", "flv", "ogg", "mxf", "gif", "apng", "webp_anim",
    "dv", "rm", "wtv", "nut", "ivf", "m4v", "h264", "hevc", "av1", "obu", "yuv4mpegpipe",
)  # fmt: skip
"""FFmpeg's demuxers for uploads. All read one file only: a playlist would name other files of this machine."""


@dataclass(frozen=True)
class Task:
    """What to do.

    Attributes:
        folder: the file's own.
        input, output: names in it.
        name, result: what messages call them.
        is_picture: of the input.
        style, strength, scale, colours, only, faces, engine, threads: how to stylize it.
    """

    folder: str
    input: str
    output: str
    name: str
    result: str
    is_picture: bool
    style: str
    strength: float
    scale: float
    colours: float
    only: str
    faces: float
    engine: str
    threads: int | None

    def load(self) -> Engine:
        """Start the engine."""
        import engines
        from rtstyle.style_library import open_style

        return engines.load(open_style(self.style), self.engine, threads=self.threads, build_ahead=True)


def main() -> int:
    """Stylize the file. Returns: the exit code, 1 after a failure."""
    if hasattr(os, "nice"):
        os.nice(19)
    reports = Reports()
    task = Task(**json.loads(sys.stdin.buffer.readline()))
    Thread(target=_end_with_parent, name="parent", daemon=True).start()
    from engines.errors import StylerError

    try:
        done = _locked(task, reports)
    except StylerError as error:
        # The hints of the command line are no help on a page.
        hint = "" if " --" in f" {error.hint}" or "`" in error.hint else error.hint
        reports({"problem": _renamed(error.problem, task), "hint": _renamed(hint, task)})
        return 1
    except MemoryError:
        reports({"problem": "there is not enough memory for this file", "hint": ""})
        return 1
    except Exception as error:  # noqa: BLE001  # the server waits for one line, whatever happened
        reports({"problem": f"{type(error).__name__}: {error}", "hint": "this is a fault in rtstyle"})
        return 1
    reports({"done": done})
    return 0


def _end_with_parent() -> None:
    """Die with the server, however it ended: nobody would know about this process any more."""
    while os.read(0, 1):
        pass
    os._exit(1)


def _locked(task: Task, reports: Reports) -> dict[str, Any]:
    from filelock import FileLock, Timeout

    from engines.errors import SinkError

    try:
        with FileLock(Path(task.folder) / LOCK, timeout=LOCK_S):
            return _picture(task) if task.is_picture else _video(task, reports)
    except Timeout as error:
        raise SinkError("another process is working on this file", hint="try again later") from error


def _picture(task: Task) -> dict[str, Any]:
    from rtstyle.image import ImageFailure, ImageJob, stylize_images

    folder = Path(task.folder)
    job = ImageJob(
        (folder / task.input,), folder / task.output, task.strength,
        overwrite=True, scale=task.scale, colours=task.colours, only=task.only, faces=task.faces,
    )  # fmt: skip
    (result,) = stylize_images(job, task.load)
    if isinstance(result, ImageFailure):
        raise result.error
    notes = ["it was larger than an engine takes, and is smaller now"] if result.reduced else []
    notes += ["its transparent parts are white now"] if result.flattened else []
    return {"width": result.width, "height": result.height, "frames": 1, "notes": notes}


def _video(task: Task, reports: Reports) -> dict[str, Any]:
    from engines.errors import ConfigError
    from rtstyle.jobs.manifest import Manifest
    from rtstyle.video import VideoJob

    folder = Path(task.folder)
    source = folder / task.input
    check_container(source)
    job = VideoJob(
        str(source), folder / task.output, task.strength,
        overwrite=True, scale=task.scale, colours=task.colours, only=task.only, faces=task.faces, resume=True,
    )  # fmt: skip
    try:
        report = _stylize(job, task, reports)
    except ConfigError:
        if not Manifest.exists(job.folder):
            raise
        # Begun by another version of rtstyle, or with another engine.
        shutil.rmtree(job.folder)
        report = _stylize(job, task, reports)
    notes = [_renamed(line, task) for line in (*report.warnings, *report.notes)]
    return {"width": report.width, "height": report.height, "frames": report.frames_out, "notes": notes}


def _stylize(job: VideoJob, task: Task, reports: Reports) -> VideoReport:
    from rtstyle.style_library import identify
    from rtstyle.video import stylize_video

    last_s = 0.0

    def progress(now: VideoProgress) -> None:
        nonlocal last_s
        if time.monotonic() - last_s >= REPORT_S:
            last_s = time.monotonic()
            reports({"frames": now.frames, "total": now.total or 0, "fps": now.fps})

    made_by = identify(task.style, task.engine)
    return stylize_video(job, task.load, on_progress=progress, made_by=made_by)


def check_container(path: Path) -> None:
    """Raise SourceError unless a file is a video in one of ``CONTAINERS``, whatever it is called."""
    import av

    from engines.errors import SourceError
    from rtstyle.media.container import open_input

    try:
        av.open(f"file:{path}", options={"format_whitelist": ",".join(CONTAINERS)}, metadata_errors="replace").close()
    except av.ArgumentError as error:  # it is none of them
        raise SourceError("this is not a video or picture that can be read") from error
    except (av.FFmpegError, OSError, ValueError):
        open_input(str(path)).close()  # says what is wrong with it


def _renamed(text: str, task: Task) -> str:
    """Return a message with the names that people know instead of paths on this machine."""
    folder = Path(task.folder)
    text = text.replace(str(folder / task.input), task.name)
    text = re.sub(re.escape(str(folder / task.output)) + r"(\.rtstyle-job\S*)?", lambda _: task.result, text)
    return text.replace(str(folder), "the server's folder")


if __name__ == "__main__":
    sys.exit(main())
