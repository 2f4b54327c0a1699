"""Program that checks a painting and lets `rtstyle train` learn its style, started by ``rtstyle.web.training.run``.

A process of its own can be niced, so that live video keeps its frame rate, and takes nothing with it when a damaged
picture crashes a decoder. Training is a child of it, and needs torch, which the server does without.

Standard input: one line of JSON, the fields of ``Task``; its end ends the program and the training, and removes the
folder unless the style is done. Standard output: lines of JSON: first ``{"width": …, "height": …}`` of the painting,
then ``{"step": …}`` and ``{"note": …}``, and at last ``{"done": true}`` or ``{"problem": …, "hint": …}``.
"""

from __future__ import annotations

import json
import os
import shutil
import subprocess
import sys
import threading
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path
from typing import TextIO

from rtstyle.web.background_process import explain_end
from rtstyle.web.worker_reports import Reports

UPLOAD, PAINTING, RUN = "upload", "painting.png", "run"
"""Names in the folder: the picture as it came, as training takes it, and the folder of the run."""

PREVIEW = "preview"
"""Folder of the unfinished style within a run, as ``train.export.snapshot`` writes it."""

POLL_S = 0.5
"""Seconds between two looks at the unfinished style."""


@dataclass(frozen=True)
class Task:
    """What to do.

    Attributes:
        folder: with the upload; nobody else uses it.
        shown: what messages call the upload.
        arguments: of ``rtstyle train``, beside the painting and the run folder.
    """

    folder: str
    shown: str
    arguments: list[str]


def main() -> int:
    """Learn the style. Returns: the exit code, 1 after a failure."""
    if hasattr(os, "nice"):
        os.nice(19)
    reports = Reports()
    task = Task(**json.loads(sys.stdin.buffer.readline()))
    training = _Training()
    threading.Thread(target=_end_with_parent, args=(task, training), name="parent", daemon=True).start()
    from engines.errors import StylerError

    try:
        _learn(task, training, reports)
    except StylerError as error:
        # The hints of the command line are no help on a page.
        hint = "" if " --" in f" {error.hint}" else error.hint
        reports({"problem": _renamed(error.problem, task), "hint": _renamed(hint, task)})
        return 1
    except MemoryError:
        reports({"problem": "there is not enough memory for this painting", "hint": ""})
        return 1
    except Exception as error:  # noqa: BLE001  # the server waits for one line, whatever happened
        reports({"problem": f"{type(error).__name__}: {error}", "hint": "this is a fault in rtstyle"})
        return 1
    training.is_done = True  # what follows belongs to the server
    reports({"done": True})
    return 0


class _Training:
    """The process that trains, which another thread may end, also before it has begun."""

    def __init__(self) -> None:
        self._lock = threading.Lock()
        self._process: subprocess.Popen[str] | None = None
        self._ended = False
        self.is_done = False

    def start(self, command: list[str]) -> subprocess.Popen[str]:
        with self._lock:
            if self._ended:
                sys.exit(1)
            self._process = subprocess.Popen(
                command, stdin=subprocess.DEVNULL, stdout=subprocess.DEVNULL, stderr=subprocess.PIPE,
                text=True, encoding="utf-8", errors="replace",
            )  # fmt: skip
            return self._process

    def end(self) -> None:
        with self._lock:
            self._ended = True
            if self._process is not None:
                self._process.kill()
                self._process.wait()


def _end_with_parent(task: Task, training: _Training) -> None:
    """Die with the server, however it ended, and leave nothing behind."""
    while os.read(0, 1):
        pass
    training.end()
    if training.is_done:
        os._exit(0)
    shutil.rmtree(task.folder, ignore_errors=True)
    os._exit(1)


def _learn(task: Task, training: _Training, reports: Reports) -> None:
    """Raises: StylerError: the painting cannot be used, or the training failed."""
    from engines.errors import TrainError
    from rtstyle.web.training.painting import prepare_painting

    folder = Path(task.folder)
    width, height = prepare_painting(folder / UPLOAD, folder / PAINTING)
    reports({"width": width, "height": height})
    painting, out = str(folder / PAINTING), str(folder / RUN)
    # -P: files beside the program must not be imported as packages.
    command = [sys.executable, "-P", "-m", "rtstyle", "train", "--style-picture", painting, "--out", out]
    with training.start([*command, *task.arguments]) as process:
        assert process.stderr is not None
        said: list[str] = []
        listener = threading.Thread(target=_listen, args=(process.stderr, said, reports), daemon=True)
        listener.start()
        _follow(process, Path(out) / PREVIEW / "style.json", reports)
        listener.join()
    if process.returncode:
        raise TrainError(*_explained(said, process.returncode))


def _listen(stream: TextIO, said: list[str], reports: Reports) -> None:
    """Keep the last lines, and tell of a download, which may take minutes."""
    for line in stream:
        if line.startswith("downloading "):
            reports({"note": line.strip().partition(" to ")[0]})
        said.append(line.strip())
        del said[:-20]


def _follow(process: subprocess.Popen[str], record: Path, reports: Reports) -> None:
    """Report the steps of the unfinished style until the training ends."""
    last = 0
    while process.poll() is None:
        with suppress(OSError, ValueError, KeyError, TypeError):  # it is being replaced
            step = int(json.loads(record.read_text(encoding="utf-8"))["training"]["steps_done"])
            if step != last:
                last = step
                reports({"step": step})
        with suppress(subprocess.TimeoutExpired):
            process.wait(POLL_S)


def _explained(said: list[str], code: int) -> tuple[str, str]:
    """Return problem and hint from what the training printed."""
    problems = [line.removeprefix("rtstyle: ") for line in said if line.startswith("rtstyle: ")]
    hints = [line.removeprefix("hint: ") for line in said if line.startswith("hint: ")]
    if problems:
        return problems[-1], hints[-1] if hints else ""
    return explain_end(code, "\n".join(said), "the training")


def _renamed(text: str, task: Task) -> str:
    """Return a message with the names that people know instead of paths on this machine."""
    folder = Path(task.folder)
    for path in (folder / UPLOAD, folder / PAINTING):
        text = text.replace(str(path), task.shown)
    return text.replace(str(folder), "the server's folder")


if __name__ == "__main__":
    sys.exit(main())
