"""Distillation: the same style from another beginning.

    python -m train.distill STYLE --init START --content PHOTOGRAPHS --out DIR

Two styles mix well if the training of one began from the other's weights, or both from the same ones. A style that
began elsewhere is moved: a network that begins from START learns to paint what STYLE paints, picture for picture. No
painting and no feature network is needed, so that a step takes a fraction of one of a training.

Source: Hinton et al. 2015, arXiv:1503.02531, with pictures in place of class scores.
"""

from __future__ import annotations

import copy
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Annotated, Any

import torch
import torch.nn.functional as F
import typer
from torch import Tensor, nn

from engines.base import RGB
from engines.errors import StyleError, StylerError, TrainError
from engines.export import check_exporter, rounded
from engines.mixing.texture import with_texture
from engines.model.generator import CANVAS, Generator, fold, load_generator, stylize
from engines.style_file import StyleMeta, StyleModel
from rtstyle import style_library
from rtstyle.commands import logs
from train.canvas_mesh import remove_mesh
from train.data.pictures import Pictures, picture_files, prefetch, split, to_picture
from train.data.synthetic_motion import add_noise, sensor_noise
from train.export import save_finished
from train.losses.perceptual import plain
from train.optimizer import Optimizer, move_towards, rate_share
from train.run_dir import check_writable
from train.warm_start import BASE, start_folder, with_norms

BATCH, CROP = 8, 128
"""Crops of a step and their side, pixels; half of them get sensor noise, and one more has no detail at all."""

NOISE_SIGMA = 4.0
"""Deviation of the sensor noise, in 8-bit steps."""

LEARNING_RATE, WARMUP = 4e-3, 50
"""Learning rate, which falls to 1 % along a cosine, and the steps in which it rises from 0."""

FREEZE_AT = 0.4
"""Share of the run after which the statistics of the normalisation are fixed."""

EMA = 0.998
"""Decay per step of the moving average of the weights, which becomes the style."""

SCALES = {1: 1.0, 2: 1.0, 8: 2.0}
"""Weight of the difference of pictures at a scale: of pixels, strokes and areas."""

SHOWN_STEPS = 50
"""Steps between two lines."""

CALIBRATION = 16
"""Photographs over which the statistics of the start are taken."""


def distance(painted: Tensor, wanted: Tensor) -> Tensor:
    """Return the mean absolute error over several scales; (N, 3, H, W), ``wanted`` in [0, 1].

    What lies outside the range of a picture that is black or white there anyway costs nothing.
    """
    error = painted - wanted
    clipped = ((painted > 1) & (wanted >= 1)) | ((painted < 0) & (wanted <= 0))
    error = error.masked_fill(clipped, 0.0)
    return torch.stack([weight * F.avg_pool2d(error, side).abs().mean() for side, weight in SCALES.items()]).sum()


class Distillation:
    """A network that learns to paint what a style paints.

    Args:
        style: the teacher.
        init: style whose weights the network begins from.
        pictures: crops of photographs.
        steps: number of steps.

    Attributes:
        average: the network so far, with its normalisation.
    """

    def __init__(self, style: StyleModel, init: StyleModel, pictures: Pictures, steps: int):
        if dict(style.arch) != dict(init.arch):
            raise StyleError(f"{style.name} cannot begin from {init.name}: their networks have different shapes")
        self.style, self.pictures, self.steps = style, pictures, steps
        # All of the texture is learned, so that people can choose any share of it afterwards.
        self.teacher = load_generator(with_texture(style, 1.0)).eval().requires_grad_(False)
        start = Pictures(pictures.files, CALIBRATION, CROP, pictures.seed)(0)
        self.student = with_norms(load_generator(init), start)
        self.average = copy.deepcopy(self.student).requires_grad_(False)
        self.optimizer = Optimizer(self.student, LEARNING_RATE, "muon")
        self.texture = 1.0
        for network in (self.teacher, self.student):
            network.canvas.mix.register_forward_pre_hook(self._weaken)

    def run(self, on_step: Callable[[int, float], None] | None = None) -> Generator:
        """Take all steps, tell number and loss of each, and return the network, folded, with all its texture."""
        for step, x in zip(range(self.steps), prefetch(self.pictures, 0, 1), strict=False):
            loss = self.step(step, x)
            if on_step is not None:
                on_step(step, loss)
        return self.result()

    def step(self, step: int, x: Tensor) -> float:
        """Learn from one batch, (N, 3, H, W) in [0, 1], and return the loss."""
        share, chance = step / self.steps, torch.Generator().manual_seed(self.pictures.seed * 1_000_003 + step)
        self.optimizer.set_learning_rate(LEARNING_RATE * rate_share(step, WARMUP, share))
        self.student.train(share < FREEZE_AT)
        noise = sensor_noise(len(x) // 2, (x.shape[2], x.shape[3]), NOISE_SIGMA, chance)
        x = torch.cat([add_noise(x[: len(noise)], noise), x[len(noise) :], plain(x[:1])])
        # Half of the steps with the style's own share of its texture, the others with any.
        own, other = self.style.texture, float(torch.rand((), generator=chance))
        self.texture = own if not own or step % 2 else other
        down, right = torch.randint(CANVAS, (2,), generator=chance).tolist()
        with torch.no_grad():
            wanted = stylize(self.teacher, x, (down, right)).clamp(0.0, 1.0)
        loss = distance(stylize(self.student, x, (down, right)), wanted)
        if not torch.isfinite(loss):
            raise TrainError(f"the loss is not finite at step {step}", hint="is the style itself whole?")
        self.optimizer.zero_grad()
        loss.backward()  # type: ignore[no-untyped-call]
        torch.nn.utils.clip_grad_norm_(self.student.parameters(), 5.0)
        self.optimizer.step()
        move_towards(self.average, self.student, 1 - min(EMA, (1 + step) / (10 + step)))
        return float(loss.detach())

    def result(self) -> Generator:
        """Return the moving average, folded, with all its texture."""
        found = fold(self.average)
        found.even_out()
        return found

    def probe(self) -> RGB:
        """Return a crop of a photograph, (CROP, CROP, 3)."""
        return to_picture(self.pictures(0)[:1])

    def _weaken(self, _mix: nn.Module, inputs: tuple[Tensor]) -> Tensor:
        """Leave a share of the canvas' contrast, around its mean."""
        mean = inputs[0].mean((2, 3), keepdim=True)
        return mean + self.texture * (inputs[0] - mean)


app = typer.Typer(add_completion=False, pretty_exceptions_enable=False)


@app.command()
def run(
    style: Annotated[str, typer.Argument(help="Name or folder of the style.")],
    content: Annotated[Path, typer.Option(help="Folder of photographs.")],
    out: Annotated[Path, typer.Option(help="Folder of the new style.")],
    init: Annotated[str, typer.Option(help="Name or folder of the style to begin from.")] = BASE,
    steps: Annotated[int, typer.Option(min=1, help="Number of steps.")] = 2000,
    hold_out: Annotated[int, typer.Option(min=0, help="Photographs that are kept out, as in the training.")] = 20,
) -> None:
    """Give a style another beginning, so that it mixes with the styles that share it.

    It takes twelve minutes on two CPU cores, and cannot be resumed.
    """
    logs.configure()
    _check_out(out, content)
    model = StyleModel.open(style_library.find(style))
    start = StyleModel.open(start_folder(Path(BASE)) if init == BASE else style_library.find(init))
    files, _ = split(picture_files(content), hold_out)
    distillation = Distillation(model, start, Pictures(files, BATCH, CROP, 1, in_memory=True), steps)
    found = distillation.run(_show)
    found.canvas.weaken(model.texture)
    remove_mesh(found, model.texture)
    licence = ", ".join(dict.fromkeys((model.licence, start.licence)))
    training = _record(model, start, steps)
    meta = StyleMeta(model.name, model.title, model.painter, model.work, licence, training)
    print(f"the style is in {save_finished(out, rounded(found), meta, files, distillation.probe()).folder}")


def _check_out(out: Path, content: Path) -> None:
    """Find out before the first step whether the style can be saved.

    Raises:
        StyleError: the folder is there already.
        TrainError: it cannot be written, or lies among the photographs.
        EngineError: the ``train`` extra is missing.
    """
    if out.exists():
        raise StyleError(f"{out} exists", hint="choose another folder")
    if content.resolve() in out.resolve().parents:
        raise TrainError(f"--out {out} is inside --content {content}", hint="choose another --out")
    check_writable(out)
    check_exporter()


def _show(step: int, loss: float) -> None:
    if step % SHOWN_STEPS == 0:
        print(f"step {step}  loss {loss:.4f}", flush=True)


def _record(style: StyleModel, start: StyleModel, steps: int) -> dict[str, Any]:
    """Return the training record of the style, and how its weights were learned from it."""
    told = {"teacher": style.weights_sha256(), "init": start.name, "init_sha256": start.weights_sha256()}
    before = {"before": style.training["distilled"]} if "distilled" in style.training else {}
    return {**style.training, "distilled": {**told, "steps": steps, **before}}


def main() -> None:
    """Run with the arguments of the command line; what went wrong is one line."""
    try:
        app()
    except StylerError as error:
        sys.exit(f"rtstyle: {error}")


if __name__ == "__main__":
    main()
