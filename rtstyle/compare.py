"""Compare two styles blindly: a page shows both side by side, with the sides drawn at random, and counts choices."""

from __future__ import annotations

import base64
import json
import mimetypes
import random
import tempfile
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from functools import partial
from pathlib import Path

from engines.atomic_write import atomic_write
from engines.base import Engine
from engines.errors import ConfigError, SinkError
from rtstyle.image import ImageJob, stylize_images
from rtstyle.media.container import check_file
from rtstyle.media.image_files import FORMATS
from rtstyle.sinks.output_path import OVERWRITE
from rtstyle.video import VideoJob, stylize_video

TEMPLATE = Path(__file__).with_name("compare.html")
PLACE = "/*DATA*/null"
"""Where the template takes its data, as JSON."""

CRF = 18
"""Quality of the clips: the encoder must not decide what is preferred."""

QUESTION = "Which do you prefer?"


@dataclass(frozen=True)
class CompareJob:
    """What to compare.

    Attributes:
        styles: the two styles, by name or folder.
        inputs: photographs and clips.
        page: HTML file to write.
        questions: asked of every pair, one after the other.
        painting: artwork to show beside the pairs; ``None`` for none.
        height: of the results, pixels; smaller inputs keep their own.
        seconds: longest part of a clip that is shown.
        strength: 0 … 1.
        seed: of the sides and of the order.
        overwrite: replace an existing page.
    """

    styles: tuple[str, str]
    inputs: tuple[Path, ...]
    page: Path
    questions: tuple[str, ...] = (QUESTION,)
    painting: Path | None = None
    height: int = 480
    seconds: float = 4.0
    strength: float = 1.0
    seed: int = 0
    overwrite: bool = False

    def check(self) -> None:
        """Check the inputs and the page before anything is stylized.

        Raises:
            ConfigError: there is nothing to compare.
            SourceError: an input does not exist.
            SinkError: the page cannot be written.
        """
        if self.styles[0] == self.styles[1]:
            raise ConfigError(f"{self.styles[0]} is given twice", hint="give two different styles")
        for path in (*self.inputs, *([self.painting] if self.painting else [])):
            check_file(path)
        if not self.page.parent.is_dir():
            raise SinkError(f"no such folder: {self.page.parent}", hint="create it first")
        if self.page.exists() and not self.overwrite:
            raise SinkError(f"{self.page} already exists", hint=f"give another name, or {OVERWRITE}")


def compare(job: CompareJob, load_engine: Callable[[str], Engine], on_input: Callable[[Path], None]) -> None:
    """Stylize all inputs in both styles and write the page, one file that needs no other.

    Args:
        job: checked first.
        load_engine: loads a style.
        on_input: called before each input.

    Raises:
        ConfigError, SourceError, SinkError: see ``CompareJob.check``.
        ShapeError: an input is too small.
        StyleError, EngineError: a style cannot be used.
    """
    job.check()
    with tempfile.TemporaryDirectory(prefix="rtstyle-compare-") as folder:
        results = []
        for source in job.inputs:
            on_input(source)
            first, second = (_stylize(job, source, Path(folder), partial(load_engine, style)) for style in job.styles)
            results.append((first, second))
        pairs = draw_sides(results, [source.name for source in job.inputs], job.seed)
        painting = _data_uri(job.painting) if job.painting else None
    page = {"styles": job.styles, "questions": job.questions, "painting": painting, "pairs": pairs}
    # "</" would end the script that holds the data.
    data = json.dumps(page, ensure_ascii=False).replace("</", "<\\/")
    with atomic_write(job.page) as file:
        file.write(TEMPLATE.read_text("utf-8").replace(PLACE, data).encode())


def draw_sides(results: Sequence[tuple[str, str]], names: Sequence[str], seed: int) -> list[dict[str, object]]:
    """Shuffle the pairs, and draw for each which style is on the left; half of them have the first style there.

    Args:
        results: data URIs of each input in the two styles.
        names: of the inputs.
        seed: of the draw.

    Returns:
        For each pair its name, ``left`` and ``right`` as data URIs, and ``first``, the side of the first style.
    """
    draw = random.Random(seed)  # noqa: S311  # sides of pictures, not secrets
    sides = [number % 2 for number in range(len(results))]
    draw.shuffle(sides)
    pairs: list[dict[str, object]] = [
        {"name": name, "left": pair[side], "right": pair[1 - side], "first": ("left", "right")[side]}
        for pair, name, side in zip(results, names, sides, strict=True)
    ]
    draw.shuffle(pairs)
    return pairs


def _stylize(job: CompareJob, source: Path, folder: Path, load_engine: Callable[[], Engine]) -> str:
    """Stylize one input and return the result as a data URI."""
    if source.suffix.lower() in FORMATS:
        target = folder / "result.jpg"
        picture = ImageJob((source,), target, job.strength, job.height, overwrite=True)
        for _ in stylize_images(picture, load_engine):
            pass
    else:
        target = folder / "result.mp4"
        clip = VideoJob(
            str(source), target, job.strength, job.height, end=job.seconds, crf=CRF, overwrite=True, audio=False
        )
        stylize_video(clip, load_engine)
    return _data_uri(target)


def _data_uri(path: Path) -> str:
    kind = mimetypes.guess_type(path.name)[0] or "image/jpeg"
    return f"data:{kind};base64,{base64.b64encode(path.read_bytes()).decode()}"
