"""Meta-training: a generator from which any painting is learned in few steps.

    python -m train.meta PAINTINGS --content PHOTOGRAPHS --out DIR

Source: Reptile, Nichol et al. 2018, arXiv:1803.02999, algorithm 1; for style transfer: MetaStyle, Zhang et al. 2019,
arXiv:1812.05233.
"""

from __future__ import annotations

import threading
from pathlib import Path
from typing import Annotated

import numpy as np
import torch
import typer
from torch import Tensor

from rtstyle.commands import logs
from rtstyle.signals import STOPPER
from train.config.recipe import resolve
from train.config.schema import TrainConfig
from train.data.batches import Batch
from train.data.painting import read_painting
from train.data.pictures import picture_files
from train.distributed import SINGLE_PROCESS, ProcessGroup
from train.export import finish
from train.loop import train
from train.losses.vgg_features import Features
from train.optimizer import move_towards
from train.progress_bar import show_progress
from train.trainer import PaintingFigures, StepOutput, Trainer

INNER_STEPS = 8
"""Steps on one painting before the start moves towards what they found."""

OUTER_RATE = 0.5
"""Share of the way that the start moves."""

SETTINGS = (
    "losses.content=1.0", "content_layers.relu2_2=1.5", "content_layers.relu3_1=0.5",
    "losses.style=8.0", "losses.batch_style=8.0", "losses.tone=10.0",
    "losses.noise=4000.0", "losses.temporal=600.0", "losses.adversarial=0.0", "losses.feature_matching=0.0",
    "generator.ema=0.999", "generator.freeze_at=1.0",
)  # fmt: skip
"""What differs from recipe ``fast``: more of the scene and more stability, so that every style begins with both."""


class MetaTrainer(Trainer):
    """Trains the start of all trainings instead of a style; ``average`` holds it, ``generator`` runs ahead.

    ``data.style_pictures`` is the folder of paintings; each is a task of its own. ``generator.ema`` must be above 0.
    """

    def __init__(
        self,
        config: TrainConfig,
        features: Features,
        device: torch.device | None = None,
        group: ProcessGroup = SINGLE_PROCESS,
    ) -> None:
        self.targets: list[PaintingFigures] = []
        super().__init__(config, features, device, group)

    @torch.no_grad()
    def _measure_paintings(self) -> PaintingFigures:
        """Measure every painting by itself; return the first one's figures."""
        assert self.config.data.style_pictures is not None
        for file in picture_files(self.config.data.style_pictures):
            self.targets.append(self._measure(read_painting(file), self.config.data.style_size))
            self.paintings.append(file)
        return self.targets[0]

    def losses(self, batch: Batch) -> StepOutput:
        """Compute the losses with the painting whose turn it is."""
        self.painting = self.target()
        return super().losses(batch)

    def target(self) -> PaintingFigures:
        """Return the figures of the painting whose turn it is; each has its turn once a round, in random order."""
        round_, place = divmod(self.step // INNER_STEPS, len(self.targets))
        order = np.random.default_rng((self.config.run.seed, round_)).permutation(len(self.targets))
        return self.targets[int(order[place])]

    def _style(self, grams: list[Tensor]) -> Tensor:
        """Return ln(1 + x) of the distance x: nothing changes near a painting, and none far away outweighs the rest."""
        return torch.log1p(super()._style(grams))

    def update(self) -> None:
        """Take one step on the painting; after the last one, move the start, and begin anew from it."""
        self.optimizer.step()
        self.step += 1
        if self.step % INNER_STEPS:
            return
        assert self.average is not None
        move_towards(self.average, self.generator, OUTER_RATE)
        self.generator.load_state_dict(self.average.state_dict())
        self.optimizer.forget_momentum()  # that of one painting would push the next one


app = typer.Typer(add_completion=False, pretty_exceptions_enable=False)


@app.command()
def run(
    paintings: Annotated[Path, typer.Argument(help="Folder of paintings.")],
    content: Annotated[Path, typer.Option(help="Folder of photographs.")],
    out: Annotated[Path, typer.Option(help="Run folder.")],
    features: Annotated[Path | None, typer.Option(help="Folder of the feature networks.")] = None,
    steps: Annotated[int, typer.Option(help="Number of steps over all paintings.")] = 3000,
    overrides: Annotated[list[str] | None, typer.Option("--set", help="Replace one setting.")] = None,
    resume: Annotated[bool, typer.Option("--resume", help="Continue from the checkpoint.")] = False,
) -> None:
    """Train the start of all trainings."""
    flags = {
        "data.style_pictures": paintings, "data.content": content, "data.features": features, "run.out": out,
        "schedule.steps": steps, "run.name": "base",
    }  # fmt: skip
    config = resolve("fast", [*SETTINGS, *(overrides or ())], flags)
    logs.configure()
    stop = threading.Event()
    with STOPPER.installed(), STOPPER.gently(stop.set), show_progress(True) as show:
        trainer = train(config, resume=resume, on_progress=show, stop=stop.is_set, kind=MetaTrainer)
    if trainer.share < 1.0:
        raise typer.Exit(130)
    model = finish(trainer, title="Start of a training", licence="CC0-1.0")
    print(f"the start is in {model.folder}: rtstyle train --init {model.folder} …")


if __name__ == "__main__":
    app()
