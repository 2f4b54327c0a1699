"""A network in training with everything it needs: feature networks, painting, optimizer, moving average."""

from __future__ import annotations

import contextlib
import copy
import logging
import platform
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from functools import cached_property
from importlib import metadata
from pathlib import Path
from typing import Any

import torch
from torch import Tensor, nn

from engines.base import RGB
from engines.errors import TrainError
from engines.model.generator import Generator, load_generator, stylize
from engines.style_file import StyleModel
from train.config.diff import diff
from train.config.schema import STYLE_LAYERS, DataConfig, TrainConfig
from train.data.batches import Batch
from train.data.clips import clip_files
from train.data.painting import read_painting
from train.data.pictures import Pictures, fingerprint, picture_files, split, to_tensor, with_short_side
from train.data.synthetic_motion import add_noise, inside, warp
from train.distributed import SINGLE_PROCESS, ProcessGroup, share_statistics
from train.inference import stylize_picture
from train.losses.perceptual import (
    NARROWEST,
    content_loss,
    gram,
    gram_distances,
    lattice_loss,
    luminance_temporal_loss,
    noise_loss,
    palette,
    palette_loss,
    plain,
    plain_loss,
    range_loss,
    straight_clamp,
    temporal_loss,
    tone_loss,
    tones,
    variation_loss,
)
from train.losses.vgg_features import Features
from train.optimizer import Optimizer, move_towards
from train.warm_start import start_folder, with_norms

logger = logging.getLogger(__name__)

ORDER = {"seed": "run", "batch": "data", "crop": "data", "hold_out": "data"}
"""Settings that decide which pictures a step sees, and their sections; a resumed run keeps them."""

PACKAGES = ("rtstyle", "torch", "numpy", "opencv-python-headless")
"""Packages that the numbers of a run depend on."""

CALIBRATION_CROPS = 16
"""Photographs over which the statistics of an initial style are taken."""

MAX_WORKS = 32
"""Most works of an artist whose Gram matrices are averaged when there is no single painting."""


@dataclass(frozen=True)
class StepOutput:
    """Result of the forward pass of a step.

    Attributes:
        terms: every loss term, unweighted scalars.
        raw: everything the generator computed in this step, (…, 3, H, W); the gradients of the terms with respect to
            it show which term pulls how hard.
        pictures: stylized batch, (N, 3, H, W) in [0, 1], with gradient; the input of the discriminator.
    """

    terms: Mapping[str, Tensor]
    raw: Tensor
    pictures: Tensor


@dataclass(frozen=True)
class PaintingFigures:
    """What the losses compare stylized pictures with.

    Attributes:
        grams: Gram matrices, (1, C, C) per layer.
        tones: the flat ``tones``.
        palette: (SHADES, 4).
    """

    grams: list[Tensor]
    tones: Tensor
    palette: Tensor

    @classmethod
    def mean(cls, paintings: Sequence[PaintingFigures]) -> PaintingFigures:
        """Return those of several paintings together."""
        grams = zip(*(painting.grams for painting in paintings), strict=True)
        return cls(
            [torch.stack(layer).mean(0) for layer in grams],
            torch.cat([painting.tones for painting in paintings]),
            torch.stack([painting.palette for painting in paintings]).mean(0),
        )

    @cached_property
    def light(self) -> tuple[float, float]:
        """Mean and standard deviation of the tones that pictures are given, the latter at least ``NARROWEST``."""
        return float(self.tones.mean()), max(float(self.tones.std(False)), NARROWEST)


class Trainer:
    """Trains a generator.

    To train another network with the same losses, override ``make_network``, ``stylize`` and ``shape``.

    Args:
        config: settings of the run.
        features: feature networks, on ``device``.
        device: by default the CPU.
        group: process group; this process stylizes its part of each batch.

    Attributes:
        paintings: files of the pictures whose strokes are learned.
        data_hashes: fingerprints of the training data; empty except in the main process.
        changes: settings that were changed when the run was resumed; see ``config.diff.diff``.
    """

    def __init__(
        self,
        config: TrainConfig,
        features: Features,
        device: torch.device | None = None,
        group: ProcessGroup = SINGLE_PROCESS,
    ):
        torch.manual_seed(config.run.seed)
        self.config, self.features, self.group = config, features, group
        self.device = device or torch.device("cpu")
        self.generator = self.make_network().to(self.device)
        self._hold_canvas(self.generator)
        if not group.is_single:
            share_statistics(self.generator)
        self.average = copy.deepcopy(self.generator).requires_grad_(False) if config.generator.ema else None
        self.optimizer = Optimizer(self.generator, config.schedule.learning_rate, config.schedule.optimizer)
        self.step, self.seconds = 0, 0.0
        self.paintings: list[Path] = []
        self.painting = self._measure_paintings()
        self.data_hashes = data_hashes(config.data) if group.is_main else {}
        self.changes: list[dict[str, Any]] = []

    @property
    def share(self) -> float:
        """Share of the run that is done, 0 … 1."""
        return self.config.schedule.share(self.step, self.seconds)

    @property
    def result(self) -> nn.Module:
        """The network that becomes the style: the moving average if there is one, else the generator."""
        return self.average or self.generator

    @property
    def shape(self) -> dict[str, Any]:
        """Shape of the network as a checkpoint stores it: ``arch`` and ``norm``."""
        assert isinstance(self.generator, Generator)
        return {"arch": self.generator.arch.to_dict(), "norm": self.generator.stem.norm is not None}

    def make_network(self) -> nn.Module:
        """Return the network to train: a new one, or that of ``generator.init`` with its normalisation restored."""
        config, data = self.config.generator, self.config.data
        if config.init is None:
            return Generator(config.arch, norm=config.norm)
        plain = load_generator(StyleModel.open(start_folder(config.init)))
        if not config.norm:
            return plain
        files, _ = split(picture_files(data.content), data.hold_out)
        return with_norms(plain, Pictures(files, CALIBRATION_CROPS, data.crop, self.config.run.seed)(0))

    def _hold_canvas(self, *networks: nn.Module | None) -> None:
        """Leave the canvas blank if the settings say so."""
        for network in networks:
            if isinstance(network, Generator) and not self.config.generator.canvas:
                network.canvas.requires_grad_(False)
                nn.init.zeros_(network.canvas.mix.conv.weight)
                assert network.canvas.mix.conv.bias is not None
                nn.init.zeros_(network.canvas.mix.conv.bias)

    def stylize(self, network: nn.Module, x: Tensor, shift: tuple[int, int] = (0, 0)) -> Tensor:
        """Run the network. (N, 3, H, W) in [0, 1] → same shape, roughly in [0, 1].

        ``shift`` is that of the canvas, (y, x), in cells; networks without a canvas ignore it.
        """
        assert isinstance(network, Generator)
        return stylize(network, x, shift)

    def stylize_picture(self, rgb: RGB) -> RGB:
        """Stylize one picture with the current result. (H, W, 3) → same shape."""
        return stylize_picture(self.result, rgb, self.stylize)

    @torch.no_grad()
    def _measure_paintings(self) -> PaintingFigures:
        """Return the mean figures of all paintings."""
        files, crop = painting_files(self.config.data), self.config.data.crop
        measured: list[PaintingFigures] = []
        for file in files:
            try:
                rgb = read_painting(file)
            except TrainError as error:
                if len(files) == 1:
                    raise
                logger.warning("%s; skipped", error.problem)
                continue
            self.paintings.append(file)
            # Small works are not enlarged: their strokes would grow as large as the blur between them.
            short = min(rgb.shape[:2])
            if short < crop:
                logger.warning(
                    "%s has only %d×%d pixels, which show hardly any strokes; %d or more on the short side are better",
                    file, rgb.shape[1], rgb.shape[0], self.config.data.style_size,
                )  # fmt: skip
            side = self.config.data.style_size if len(files) == 1 else min(short, self.config.data.style_size)
            measured.append(self._measure(rgb, side))
        if not measured:
            raise TrainError(f"no work can be read: {files[0]} …", hint="give --style-pictures another folder")
        return PaintingFigures.mean(measured)

    @torch.no_grad()
    def _measure(self, rgb: RGB, side: int) -> PaintingFigures:
        """Measure a painting at a short side."""
        x = to_tensor(with_short_side(rgb, side)).to(self.device)
        grams = [gram(features) for features in [*self.features.style(x), self.features.content(x)]]
        return PaintingFigures(grams, tones(x).flatten(), palette(x))

    def losses(self, batch: Batch) -> StepOutput:
        """Stylize a batch and compute every loss term of the generator except the adversarial ones."""
        groups = self._groups(batch)
        # One pass for all groups, so that the normalisation sees them together.
        raw = self.stylize(self.generator, torch.cat(list(groups.values())), batch.draws.shift).float()
        parts = dict(zip(groups, torch.split(raw, [len(group) for group in groups.values()]), strict=True))
        pictures = straight_clamp(parts["x"])
        terms = self._picture_terms(batch.x, parts["x"], pictures, batch.faces)
        return StepOutput(terms | _pair_terms(batch, groups, parts), raw, pictures)

    def _groups(self, batch: Batch) -> dict[str, Tensor]:
        """Return all pictures of a step, (…, 3, H, W) each: the photographs, and what is compared with them."""
        x, pairs, draws = batch.x, batch.pairs, batch.draws
        groups = {"x": x}
        if pairs is not None:
            groups |= {"first": pairs.first, "second": pairs.second}
        # Every other picture moves, the others get noise: both terms for little more than the cost of one.
        if draws.flow is not None and draws.moved_noise is not None:
            groups["moved"] = add_noise(warp(x[::2], draws.flow), draws.moved_noise)
        if draws.still_noise is not None:
            groups["noisy"] = add_noise(_still(x), draws.still_noise)
        if self.config.losses.plain:
            groups["plain"] = plain(x[:1])
        return groups

    def _picture_terms(self, x: Tensor, raw: Tensor, y: Tensor, faces: Tensor | None) -> dict[str, Tensor]:
        """Compute the terms that look at single pictures: input x, output raw, and y, the output clamped."""
        weights = {name: weight for name, weight in vars(self.config.content_layers).items() if weight}
        with torch.no_grad():
            original = self.features.layers(x, weights)
        found = self.features.layers(y, {*STYLE_LAYERS, *weights})
        grams = [gram(found[name]) for name in STYLE_LAYERS]

        def content(mask: Tensor | None = None) -> Tensor:
            losses = [weight * content_loss(found[name], original[name], mask) for name, weight in weights.items()]
            return torch.stack(losses).sum() if losses else y.new_zeros(())

        terms = {"content": content(), "style": self._style(grams)}
        if faces is not None:
            terms["faces"] = content(faces)
        if self.config.losses.batch_style:
            terms["batch_style"] = self._style([self.group.mean(g.mean(0, keepdim=True)) for g in grams])
        if self.config.losses.tone:
            terms["tone"] = tone_loss(y, x, *self.painting.light)
        if self.config.losses.palette:
            terms["palette"] = palette_loss(self.group.mean(palette(y)), self.painting.palette)
        if self.config.losses.lattice:
            terms["lattice"] = lattice_loss(raw)
        return terms | {"variation": variation_loss(raw), "range": range_loss(raw)}

    def _style(self, grams: list[Tensor]) -> Tensor:
        weights = vars(self.config.style_layers).values()
        distances = gram_distances(grams, self.painting.grams)
        return torch.stack([weight * distance for weight, distance in zip(weights, distances, strict=True)]).sum()

    def update(self) -> None:
        """Take one optimizer step and update the moving average."""
        self.optimizer.step()
        self.step += 1
        if self.average is None:
            return
        # The average forgets the first weights faster: they are far from any style.
        decay = min(self.config.generator.ema, (1 + self.step) / (10 + self.step))
        move_towards(self.average, self.generator, 1 - decay)

    def state(self) -> dict[str, Any]:
        """Return everything a resumed run needs."""
        return {
            "generator": self.generator.state_dict(),
            "average": None if self.average is None else self.average.state_dict(),
            "optimizer": self.optimizer.state_dict(),
            "step": self.step,
            "seconds": self.seconds,
            **self.shape,
            "order": {name: getattr(getattr(self.config, section), name) for name, section in ORDER.items()},
            "settings": self.config.to_dict(),
            "changes": self.changes,
            "data": self.data_hashes,
            "versions": versions(),
        }

    def restore(self, state: dict[str, Any]) -> None:
        """Continue from a checkpoint.

        Raises:
            TrainError: it is incomplete, holds a network of another shape, or saw its pictures in another order.
        """
        mine = self.state()
        missing = sorted(mine.keys() - state.keys() - {"data", "versions", "changes"})
        if missing:
            raise TrainError(f"the checkpoint lacks {', '.join(missing)}", hint="start over without --resume")
        if state["arch"] != mine["arch"] or state["norm"] != mine["norm"]:
            raise TrainError(f"the checkpoint holds a generator of another shape: {state['arch']}")
        if state["order"] != mine["order"]:
            raise TrainError(f"the run was started with {state['order']}", hint="use the same, or another --out")
        try:
            self.generator.load_state_dict(state["generator"])
            self.optimizer.load_state_dict(state["optimizer"])
            if self.average is not None:
                # A run that turns averaging on halfway starts from the current weights.
                self.average.load_state_dict(state["average"] or state["generator"])
            self._hold_canvas(self.generator, self.average)
        except (RuntimeError, ValueError) as error:
            raise TrainError("the checkpoint does not fit this version's generator", hint="start over") from error
        self.step, self.seconds = state["step"], state["seconds"]
        self.changes = [*state.get("changes", []), *diff(self.config, state["settings"], self.step)]


def _pair_terms(batch: Batch, groups: dict[str, Tensor], parts: dict[str, Tensor]) -> dict[str, Tensor]:
    """Compute the terms that compare two pictures; ``parts`` are the stylized ``groups``."""
    pairs, flow, terms = batch.pairs, batch.draws.flow, dict[str, Tensor]()
    if flow is not None:
        terms["temporal"] = temporal_loss(warp(parts["x"][::2], flow), parts["moved"], inside(flow))
    if pairs is not None:
        terms["temporal"] = luminance_temporal_loss(
            parts["first"], parts["second"], pairs.first, pairs.second, pairs.flow, pairs.valid
        )
    if "noisy" in groups:
        terms["noise"] = noise_loss(_still(parts["x"]), parts["noisy"])
    if "plain" in groups:
        terms["plain"] = plain_loss(parts["plain"], groups["plain"])
    return terms


def data_hashes(data: DataConfig) -> dict[str, str]:
    """Return fingerprints of everything a run learns from, by setting."""
    found = {"content": picture_files(data.content)}
    if data.style_picture is not None:
        found["style_picture"] = [data.style_picture]
    if data.style_pictures is not None:
        found["style_pictures"] = picture_files(data.style_pictures, "--style-pictures")
    if data.clips is not None:
        found["clips"] = clip_files(data.clips)
    return {name: fingerprint(files) for name, files in found.items()}


def versions() -> dict[str, str]:
    """Return the versions of ``PACKAGES`` and Python."""
    found = {"python": platform.python_version()}
    for name in PACKAGES:
        with contextlib.suppress(metadata.PackageNotFoundError):  # run from a checkout
            found[name] = metadata.version(name)
    return found


def _still(x: Tensor) -> Tensor:
    """Return the pictures of a batch that do not move; a single picture is both moved and still."""
    return x[1::2] if len(x) > 1 else x


def painting_files(data: DataConfig) -> list[Path]:
    """Return the pictures whose strokes are learned: the given one, or works from all over the artist's folder."""
    if data.style_picture is not None:
        return [data.style_picture]
    assert data.style_pictures is not None  # TrainConfig checks that one of the two is given
    works = picture_files(data.style_pictures, "--style-pictures")
    return works[:: max(1, len(works) // MAX_WORKS)][:MAX_WORKS]
