"""Kill a batch at each of its file operations, and run it again: all is done then, nothing twice, nothing is left over.

A program of its own, because it forks: ``python -m tests.rtstyle.kill_points image|video|segments FOLDER``.
"""

from __future__ import annotations

import os
import shutil
import sys
from collections.abc import Callable
from pathlib import Path

from rtstyle.image import ImageBatch, ImageFailure, ImageJob
from rtstyle.jobs.batch import VideoBatch, VideoFailure
from rtstyle.video_job import VideoJob
from tests.rtstyle.clips import Clip, Still
from tests.rtstyle.picture_bytes import corners
from tests.rtstyle.test_image import Invert, save

OPERATIONS = ("open", "os.rename", "os.remove", "os.mkdir", "os.rmdir")

KILLED = 9


def prepare(kind: str, folder: Path) -> Callable[[Path], None]:
    """Make three inputs, and return what stylizes them into a folder."""
    (folder / "sub").mkdir(parents=True)
    if kind == "image":
        for name in ("a.png", "sub/b.png", "sub/c.png"):
            save(folder / name, corners())
    else:
        for name, frames in {"a.mp4": 5, "sub/b.mp4": 25, "sub/c.mp4": 5}.items():
            Clip(frames=frames, sound="aac").write(folder / name)
    settings = VideoJob("", Path(), preset="ultrafast", segment_s=0.4 if kind == "segments" else 20)

    def stylize(output: Path) -> None:
        if kind == "image":
            with ImageBatch(ImageJob((folder,), output)) as pictures:
                assert not [one for one in pictures.run(Invert) if isinstance(one, ImageFailure)]
        else:
            with VideoBatch([str(folder)], output, settings) as clips:
                assert not [one for one in clips.run(Still) if isinstance(one, VideoFailure)]

    return stylize


def in_child(work: Callable[[], None]) -> int:
    """Return the exit code of a child process that does something."""
    pid = os.fork()
    if pid:
        return os.waitstatus_to_exitcode(os.waitpid(pid, 0)[1])
    try:
        work()
    except BaseException as error:  # noqa: BLE001
        print(repr(error), file=sys.stderr)
        os._exit(1)
    os._exit(0)


def kill_at(number: int, output: Path) -> None:
    """End this process before its operation of that number in the output folder."""
    count = 0

    def watch(event: str, arguments: tuple[object, ...]) -> None:
        nonlocal count
        if event in OPERATIONS and any(str(output) in str(argument) for argument in arguments):
            count += 1
            if count == number:
                os._exit(KILLED)

    sys.addaudithook(watch)


def made(output: Path) -> dict[Path, tuple[int, int]]:
    """The finished outputs, so that one that was made twice differs."""
    found = [path for path in output.rglob("[abc].*") if path.is_file()]
    return {path: (path.stat().st_ino, path.stat().st_mtime_ns) for path in found}


def main(kind: str, folder: Path) -> None:
    """Print the number of points at which the batch was killed."""
    stylize = prepare(kind, folder / "in")
    for number in range(1, 1000):
        output = folder / "out"

        def first(number: int = number, output: Path = output) -> None:
            kill_at(number, output)
            stylize(output)

        code = in_child(first)
        before = made(output)
        assert in_child(lambda output=output: stylize(output)) == 0, number  # type: ignore[misc]
        after = made(output)
        assert len(after) == 3 and after.items() >= before.items(), (number, before, after)
        rest = sorted(path.name for path in output.rglob("*") if path not in after and path.name != "sub")
        assert rest == [".rtstyle-batch.jsonl", ".rtstyle-batch.lock"], (number, rest)
        shutil.rmtree(output)
        if code == 0:
            print(number - 1)
            return
        assert code == KILLED, (number, code)


if __name__ == "__main__":
    main(sys.argv[1], Path(sys.argv[2]))
