"""One visible training loop."""

from __future__ import annotations

import math
import time
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import torch
from torch import Tensor

from engines.errors import TrainError
from engines.generator import CANVAS, STRIDE, Generator, load_generator, stylize
from engines.model_file import StyleModel
from train import checkpoint
from train.config import DataConfig, TrainConfig
from train.data import Pictures, picture_files, read_picture, split, to_tensor, with_short_side
from train.features import Features, load_features
from train.losses import (
    canvas_loss,
    content_loss,
    gram,
    noise_loss,
    range_loss,
    straight_clamp,
    style_distances,
    temporal_loss,
    variation_loss,
)
from train.motion import inside, random_flow, sensor_noise, warp
from train.sheet import save_sheet

CHECKPOINT = "checkpoint.pt"

ORDER = {"seed": "run", "batch": "data", "crop": "data", "hold_out": "data"}
"""Settings that decide which pictures a step sees, and their sections; a resumed run keeps them."""


@dataclass(frozen=True)
class Progress:
    """Where a run stands.

    Attributes:
        step: steps done.
        share: of the run, 0 … 1.
        seconds: spent training, over all resumed parts.
        losses: value of each term at this step, unweighted, and ``total``, weighted.
    """

    step: int
    share: float
    seconds: float
    losses: Mapping[str, float]


class Painter:
    """A generator with what its training needs beside it.

    Args:
        config: of the run.
        features: fixed networks.
    """

    def __init__(self, config: TrainConfig, features: Features):
        torch.manual_seed(config.run.seed)
        self.config, self.features = config, features
        self.generator = _first_generator(config)
        self.optimizer = torch.optim.Adam(self.generator.parameters(), lr=config.schedule.learning_rate)
        self.step, self.seconds = 0, 0.0
        painting = with_short_side(read_picture(painting_file(config.data)), config.data.style_size)
        with torch.no_grad():
            x = to_tensor(painting)
            self.painting_grams = [gram(f) for f in [*features.style(x), features.content(x)]]

    @property
    def share(self) -> float:
        """How much of the run is done, 0 … 1."""
        schedule = self.config.schedule
        if schedule.minutes is not None:
            return min(1.0, self.seconds / (60 * schedule.minutes))
        return min(1.0, self.step / schedule.steps)

    def losses(self, x: Tensor, step: int) -> dict[str, Tensor]:
        """Every loss term for a batch, unweighted. Random numbers depend on the seed and the step alone."""
        config, half = self.config, (x.shape[0] + 1) // 2
        rng = torch.Generator().manual_seed(config.run.seed * 1_000_003 + step)
        flow = random_flow(half, (config.data.crop, config.data.crop), config.motion.shift, rng)
        moved = sensor_noise(warp(x[:half], flow), config.motion.noise_sigma, rng)
        noisy = sensor_noise(x[-half:], config.motion.noise_sigma, rng)
        # Half of the pictures move and the other half get noise, in one pass: both terms at two thirds of the cost.
        places = torch.randint(CANVAS // STRIDE, (4,), generator=rng).tolist()
        together = stylize(self.generator, torch.cat([x, moved, noisy]), (places[0], places[1]))
        raw, raw_moved, raw_noisy = torch.split(together, [len(x), half, half])
        elsewhere = stylize(self.generator, x[:half], (places[2], places[3]))
        y = straight_clamp(raw)
        with torch.no_grad():
            original = self.features.content(x)
        deep = self.features.content(y)
        style = style_distances([*self.features.style(y), deep], self.painting_grams)
        return {
            "content": content_loss(deep, original),
            "style": torch.stack(style).sum(),
            "temporal": temporal_loss(warp(raw[:half], flow), raw_moved, inside(flow)),
            "noise": noise_loss(raw[-half:], raw_noisy),
            "canvas": canvas_loss(raw[:half], elsewhere),
            "variation": variation_loss(raw),
            "range": range_loss(raw),
        }

    def state(self) -> dict[str, Any]:
        """Everything that a resumed run needs."""
        return {
            "generator": self.generator.state_dict(),
            "optimizer": self.optimizer.state_dict(),
            "step": self.step,
            "seconds": self.seconds,
            "arch": self.generator.arch.to_dict(),
            "norm": self.generator.stem.norm is not None,
            "order": {name: getattr(getattr(self.config, section), name) for name, section in ORDER.items()},
            "settings": self.config.to_dict(),
        }

    def restore(self, state: dict[str, Any]) -> None:
        """Go on where a checkpoint was written.

        Raises: TrainError: it holds a generator of another shape, not all that is needed, or was started otherwise.
        """
        missing = sorted(self.state().keys() - state.keys())
        if missing:
            raise TrainError(f"the checkpoint holds no {', '.join(missing)}", hint="leave --resume away to start anew")
        mine = self.state()
        if state["arch"] != mine["arch"] or state["norm"] != mine["norm"]:
            raise TrainError(f"the checkpoint holds a generator of another shape: {state['arch']}")
        if state["order"] != mine["order"]:
            raise TrainError(f"the run was started with {state['order']}", hint="give the same, or another --out")
        try:
            self.generator.load_state_dict(state["generator"])
            self.optimizer.load_state_dict(state["optimizer"])
        except (RuntimeError, ValueError) as error:
            raise TrainError("the checkpoint does not fit this version's generator", hint="start anew") from error
        self.step, self.seconds = state["step"], state["seconds"]


def _first_generator(config: TrainConfig) -> Generator:
    """Fresh, or that of the style to start from, which has been folded and needs no normalisation any more."""
    if config.generator.init is None:
        return Generator(config.generator.arch, norm=config.generator.norm)
    return load_generator(StyleModel.open(config.generator.init))


def painting_file(data: DataConfig) -> Path:
    """The picture whose strokes are learned: the one that was given, or the first of the artist's works."""
    if data.style_picture is not None:
        return data.style_picture
    assert data.style_pictures is not None  # one of the two is given, or there would be no settings
    return picture_files(data.style_pictures)[0]


def learning_rate(config: TrainConfig, step: int, share: float) -> float:
    """Linear warm-up, then a cosine from the full rate to 1 % of it. Loshchilov and Hutter 2017, arXiv:1608.03983."""
    warm = min(1.0, (step + 1) / (config.schedule.warmup + 1))
    return config.schedule.learning_rate * warm * (0.01 + 0.99 * 0.5 * (1 + math.cos(math.pi * share)))


def train(
    config: TrainConfig,
    *,
    resume: bool = False,
    on_progress: Callable[[Progress], None] | None = None,
    stop: Callable[[], bool] = lambda: False,
) -> Painter:
    """Train a generator.

    Args:
        config: of the run.
        resume: go on from the run folder's checkpoint; bit for bit on one CPU when the run counts steps.
        on_progress: called after every step.
        stop: asked after every step; True ends the run with a checkpoint.
    Returns: the painter, its generator trained and not yet folded.
    Raises: TrainError: unusable pictures, features or checkpoint; a loss that is not finite.
    """
    painter, pictures = _prepare(config, resume)
    path = config.run.out / CHECKPOINT
    weights = vars(config.losses)
    for x in pictures.from_step(painter.step):
        began = time.monotonic()
        share = painter.share
        if share >= 1.0 or stop():
            break
        painter.generator.train(share < config.generator.freeze_at)
        for group in painter.optimizer.param_groups:
            group["lr"] = learning_rate(config, painter.step, share)
        losses = painter.losses(x, painter.step)
        total = torch.stack([weights[name] * value for name, value in losses.items()]).sum()
        painter.optimizer.zero_grad(set_to_none=True)
        total.backward()  # type: ignore[no-untyped-call]
        gradient = torch.nn.utils.clip_grad_norm_(painter.generator.parameters(), config.schedule.clip_gradient)
        _check_finite({**losses, "gradient": gradient}, config, painter.step)
        painter.optimizer.step()
        painter.step += 1
        painter.seconds += time.monotonic() - began
        if painter.step % config.run.checkpoint_steps == 0:
            checkpoint.save(path, painter.state())
        if painter.step % config.run.sheet_steps == 0:
            save_sheet(config.run.out / f"sheet-{painter.step:06d}.jpg", painter.generator, pictures)
        if on_progress is not None:
            values = {name: float(value.detach()) for name, value in (losses | {"total": total}).items()}
            on_progress(Progress(painter.step, painter.share, painter.seconds, values))
    checkpoint.save(path, painter.state())
    return painter


def _prepare(config: TrainConfig, resume: bool) -> tuple[Painter, Pictures]:
    data, run = config.data, config.run
    if run.threads:
        torch.set_num_threads(run.threads)
    files, _ = split(picture_files(data.content), data.hold_out)
    painter = Painter(config, load_features(data.features, _feature_dtype()))
    run.out.mkdir(parents=True, exist_ok=True)
    if resume:
        painter.restore(checkpoint.load(run.out / CHECKPOINT))
    return painter, Pictures(files, data.batch, data.crop, run.seed)


def _check_finite(terms: Mapping[str, Tensor], config: TrainConfig, step: int) -> None:
    """Stop before a step that would ruin the weights, and with them the next checkpoint."""
    wrong = [name for name, value in terms.items() if not torch.isfinite(value)]
    if wrong:
        saved = (config.run.out / CHECKPOINT).exists()
        raise TrainError(
            f"the loss term {wrong[0]} is {float(terms[wrong[0]].detach())} at step {step}",
            hint="lower --learning-rate"
            + (f" and go on from {config.run.out / CHECKPOINT} with --resume" if saved else ""),
        )


def _feature_dtype() -> torch.dtype:
    """bfloat16 halves the time of a step where the CPU computes with it; elsewhere it is emulated and slow."""
    supported: bool = torch.ops.mkldnn._is_mkldnn_bf16_supported()  # noqa: SLF001  # there is no public question
    return torch.bfloat16 if supported else torch.float32
