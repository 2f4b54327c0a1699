"""Many inputs and the folder of their outputs: what is left to do, and what an earlier run has finished."""

from __future__ import annotations

import errno
import logging
import os
import sys
from collections import defaultdict
from collections.abc import Callable, Collection, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path, PurePath
from typing import Any, Self

from engines.atomic_write import NAME_BYTES
from engines.errors import EngineError, SinkError, StyleError, StylerError
from rtstyle.jobs.batch_inputs import BatchInput, find_inputs, folder_identity, is_pattern
from rtstyle.jobs.batch_record import BatchRecord
from rtstyle.sinks.output_path import write_errors

logger = logging.getLogger(__name__)


@dataclass(frozen=True)
class BatchKind:
    """What a batch is made of.

    Attributes:
        noun: plural, for messages.
        suffixes: of the files that are taken from folders, in lower case.
        written: suffixes that an output may have.
        output_name: returns the name of an output, given that of its input.
        only_named: suffixes of files that are not taken from folders, though they may be meant.
    """

    noun: str
    suffixes: tuple[str, ...]
    written: tuple[str, ...]
    output_name: Callable[[PurePath], PurePath]
    only_named: tuple[str, ...] = ()


@dataclass(frozen=True)
class BatchTask:
    """One input to stylize.

    Attributes:
        input: file or URL.
        output: file below the output folder.
        settings: what the output looks like depends on.
        size: of the input, bytes; 0 if unknown.
    """

    input: str
    output: Path
    settings: Mapping[str, Any]
    size: int


@dataclass(frozen=True)
class BatchProblem:
    """An input that cannot be stylized, as is known before the first frame."""

    input: str
    output: Path
    error: StylerError


class FolderBatch:
    """Everything that the inputs of a command line mean, sorted into what is finished, what is left and what fails.

    Args:
        inputs: files, folders, patterns, URLs; see ``find_inputs``.
        folder: of the outputs; created if it does not exist, and locked until ``close``.
        kind: clips or pictures.
        settings: returns what the output looks like depends on, given its path.
        overwrite: replace files that were not made of these inputs with these settings.

    Attributes:
        tasks: left to do.
        finished: outputs of an earlier run with the same settings.
        problems: inputs that cannot be stylized.
        recovered: outputs that were finished just before the process that made them was killed.

    Raises:
        SourceError: an input does not exist, or there is nothing to stylize.
        SinkError: outputs have the same name, would replace an input, or cannot be written.
        ConfigError: the record in the folder cannot be used, or another process is writing there.
    """

    def __init__(
        self,
        inputs: Sequence[str],
        folder: Path,
        kind: BatchKind,
        settings: Callable[[Path], Mapping[str, Any]],
        *,
        overwrite: bool = False,
    ) -> None:
        with write_errors(folder):
            _check_folder(inputs, folder, kind)
        found, unreadable = find_inputs(inputs, kind.suffixes, folder, kind.noun, only_named=kind.only_named)
        planned = _planned(found, folder, kind)
        described = [BatchTask(one.name, output, settings(output), one.size) for one, output in planned]
        self.folder = folder
        self.tasks: list[BatchTask] = []
        self.finished: list[BatchTask] = []
        self.problems = [BatchProblem(one.name, folder, one.error) for one in unreadable]
        self._record = BatchRecord(folder)
        self.recovered = [folder / name for name in self._record.recovered]
        try:
            for task in described:
                self._sort(task, overwrite)
            self._put_last({folder / name for name in self._record.died})
            _create_folders(self.tasks)
        except BaseException:
            self._record.close()
            raise

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self.close()

    def close(self) -> None:
        """Unlock the folder. May be called twice."""
        self._record.close()

    def __len__(self) -> int:
        return len(self.tasks) + len(self.finished) + len(self.problems)

    def begin(self, task: BatchTask) -> None:
        """Note that a task begins, so that its output is recognised if the process is killed before ``finish``.

        Raises:
            SourceError: the input cannot be read.
            SinkError: the disk is full.
        """
        self._record.begin(task.input, task.output, task.settings)

    def finish(self, output: Path) -> None:
        """Note that an output is complete, so that it is skipped the next time.

        Raises:
            SinkError: the disk is full.
        """
        self._record.finish(output)

    def give_up(self, output: Path) -> None:
        """Note that an output that was begun is not made in this run."""
        self._record.give_up(output)

    def _put_last(self, outputs: Collection[Path]) -> None:
        """Move tasks to the end: a file that crashes the process, or needs all its memory, must not keep the others."""
        suspects = [task for task in self.tasks if task.output in outputs]
        for task in suspects:
            logger.info("%s comes last: an earlier run was killed while it was being made", task.output)
        self.tasks = [task for task in self.tasks if task.output not in outputs] + suspects

    def _sort(self, task: BatchTask, overwrite: bool) -> None:
        try:
            _check_name(task.output)
            finished = self._record.is_finished(task.input, task.output, task.settings, overwrite=overwrite)
        except SinkError as error:
            self.problems.append(BatchProblem(task.input, task.output, error))
        else:
            (self.finished if finished else self.tasks).append(task)


def failure_of(name: str, error: Exception) -> StylerError:
    """Return the error of one input; one that was not raised on purpose must not end a night's work either.

    Raises:
        EngineError: the engine cannot be loaded, or failed, as it would at the next input.
        StyleError: the style cannot be used.
        SinkError: the disk is full.
        BrokenPipeError: nobody reads our output any more.
    """
    cause = error.__cause__ if isinstance(error, SinkError) else error
    is_full = isinstance(cause, OSError) and cause.errno in (errno.ENOSPC, errno.EDQUOT)
    if is_full or isinstance(error, EngineError | StyleError | BrokenPipeError):
        raise error
    if isinstance(error, StylerError):
        return error
    logger.debug("%s", name, exc_info=error)
    if isinstance(error, MemoryError):
        return StylerError(f"{name} needs more memory than is free", hint="make it smaller first")
    problem = f"{name}: {type(error).__name__}: {error}"
    return StylerError(problem, hint="this is a bug in rtstyle; stylize it alone with RTSTYLE_DEBUG=1 for a traceback")


def is_batch(inputs: Sequence[str], output: str) -> bool:
    """Return True if a command line means a folder of outputs.

    It does with several inputs, a folder or a pattern, or if the output is a folder or ends as one does.
    """
    ends = tuple(filter(None, ("/", os.sep, os.altsep)))
    first = inputs[0]
    return len(inputs) > 1 or output.endswith(ends) or _is_folder(output) or _is_folder(first) or is_pattern(first)


def _is_folder(name: str) -> bool:
    try:
        return Path(name).is_dir()
    except OSError:  # a name that is too long
        return False


def _check_folder(inputs: Sequence[str], folder: Path, kind: BatchKind) -> None:
    if folder.exists():
        if not folder.is_dir():
            raise SinkError(f"{folder} is a file", hint=f"give a folder for several {kind.noun}")
        identity = folder_identity(folder)
        if same := next((name for name in inputs if folder_identity(Path(name)) == identity), None):
            raise SinkError(f"{same} is input and output", hint="give another folder for the output")
        return
    if folder.suffix.lower() in kind.written:
        raise SinkError(f"cannot write several {kind.noun} into one file {folder}", hint="give a folder")
    if not folder.parent.is_dir():
        raise SinkError(f"no such folder: {folder.parent}", hint="create it first")


def _planned(found: Sequence[BatchInput], folder: Path, kind: BatchKind) -> list[tuple[BatchInput, Path]]:
    """Return each input with its output; an input that is named twice counts once."""
    planned = dict[str, tuple[BatchInput, Path]]()
    clashes = defaultdict[Path, list[str]](list)
    identities = {one.identity for one in found} - {None}
    for one in found:
        output = folder / one.below.parent / kind.output_name(PurePath(one.below.name))
        first, target = planned.setdefault(_folded(output), (one, output))
        is_same = first.name == one.name or (one.identity is not None and first.identity == one.identity)
        if not is_same:
            clashes[target] = [*(clashes[target] or [first.name]), one.name]
        elif first is one and folder_identity(output) in identities:
            raise SinkError(f"{output} would replace an input", hint="give another folder for the output")
    if clashes:
        raise _clash(clashes)
    return list(planned.values())


def _clash(clashes: Mapping[Path, Sequence[str]]) -> SinkError:
    output, names = next(iter(clashes.items()))
    more = f"; so do {len(clashes) - 1} more outputs" if len(clashes) > 1 else ""
    hint = "give the folder above them, so that each keeps its own place, or stylize them into different folders"
    return SinkError(f"{' and '.join(names[:3])} would both become {output}{more}", hint=hint)


def _check_name(output: Path) -> None:
    length = len(os.fsencode(output.name))
    if length > NAME_BYTES:
        raise SinkError(
            f"the name {output.name} is too long", hint=f"{length} bytes; at most {NAME_BYTES} are possible"
        )


def _folded(path: Path) -> str:
    """Return what is equal for names that mean the same file where the system ignores case."""
    return str(path).casefold() if sys.platform in ("win32", "darwin") else str(path)


def _create_folders(tasks: Sequence[BatchTask]) -> None:
    for folder in sorted({task.output.parent for task in tasks}):
        with write_errors(folder):
            folder.mkdir(parents=True, exist_ok=True)
