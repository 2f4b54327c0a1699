"""Johnson's network, trained as a style of the gallery was: by the same losses, on the same data, for as many pictures.

Settings are those of the style's own record. What differs: the network starts from nothing; where the style was started
from another one, the pictures that both have met are counted together, and the network spends them all on the one
painting; and all kernels are learned by Adam at 1e-3, as Johnson et al. 2016 did, where the styles' are learned by
Muon, which gets further in as many steps: see ``train.optimizer``.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, replace
from functools import cached_property
from json import dumps, loads
from pathlib import Path
from typing import Any

import torch
import torch.nn.functional as F
from safetensors import SafetensorError, safe_open
from safetensors.torch import save
from torch import Tensor, nn

from benchmarks.johnson import Johnson
from benchmarks.subject import NotMeasuredError
from engines.atomic_write import atomic_write
from engines.errors import StyleError, TrainError
from engines.style_file import StyleModel
from rtstyle import style_library
from train import checkpoint
from train.checkpoint import CHECKPOINT
from train.config.diff import diff
from train.config.recipe import recorded_painting, resolve
from train.config.schema import TrainConfig
from train.distributed import SINGLE_PROCESS, ProcessGroup
from train.loop import Progress, train
from train.trainer import Trainer
from train.warm_start import BASE, start_folder

STRIDE = 4
"""Both sides of what the network sees are multiples of this many pixels."""

LEARNING_RATE = 1e-3

COMMAND = "`python -m benchmarks.against`"


def stylize(network: nn.Module, x: Tensor, shift: tuple[int, int] = (0, 0)) -> Tensor:  # noqa: ARG001  # no canvas
    """Paint pictures of any size: reflected at the right and at the bottom up to a multiple of ``STRIDE``.

    The network's values are those of the picture, not bytes: there one step of Adam at its output would be 255 times
    smaller, and it would spend a short training on getting bright.

    Args:
        network: a ``Johnson``.
        x: (N, 3, H, W) in [0, 1], H and W from 5 up.
        shift: without effect.
    Returns: the same shape, about in [0, 1].
    """
    height, width = x.shape[-2:]
    painted: Tensor = network(F.pad(x, (0, -width % STRIDE, 0, -height % STRIDE), mode="reflect"))
    return painted[..., :height, :width]


class JohnsonTrainer(Trainer):
    """Johnson's network in training, by the losses, motion and schedule of a style."""

    @property
    def shape(self) -> dict[str, Any]:
        """There is one only."""
        return {"arch": {"network": "johnson"}, "norm": True}

    def make_network(self) -> nn.Module:
        """A fresh one."""
        return Johnson()

    def stylize(self, network: nn.Module, x: Tensor, shift: tuple[int, int] = (0, 0)) -> Tensor:
        """(N, 3, H, W) in [0, 1] → the same shape."""
        return stylize(network, x, shift)


def pictures_of(style: StyleModel, *later: str) -> int:
    """Photographs, each time it was shown, that a style has met, with those of the style it was started from.

    Args:
        style: of the gallery, or one that was trained from nothing, from a style of the gallery, or from ``base``.
        later: names of the styles that were started from it.
    Raises: NotMeasuredError: the records do not tell.
    """
    settings, steps = style.training.get("settings"), style.training.get("steps_done")
    if not isinstance(settings, dict) or not isinstance(steps, int):
        raise NotMeasuredError(f"{style.name} has no record of its training")
    before = settings["generator"]["init"]
    own = steps * int(settings["data"]["batch"])
    if before is None:
        return own
    if before in (style.name, *later):
        raise NotMeasuredError(f"{style.name} was started from an older {before}, whose record is gone")
    try:
        folder = start_folder(Path(before)) if before == BASE else style_library.find(before)
        return own + pictures_of(StyleModel.open(folder), style.name, *later)
    except StyleError as error:
        raise NotMeasuredError(f"{style.name} was started from {before}, which is not there") from error


@dataclass(frozen=True)
class Rival:
    """One network to be trained, or trained.

    Attributes:
        style: with whose settings.
        data: folder with ``content``, ``features`` and ``styles``.
        out: folder of all of them.
        plain: without temporal and noise losses.
        steps: instead of as many as the style's pictures make, for a short look.
    """

    style: StyleModel
    data: Path
    out: Path
    plain: bool = False
    steps: int | None = None

    @property
    def name(self) -> str:
        """Of its files."""
        short = "" if self.steps is None else f"-{self.steps}"
        return f"{self.style.name}{'-plain' * self.plain}{short}"

    @property
    def file(self) -> Path:
        """Its weights; they are there when the training has finished."""
        return self.out / f"{self.name}.safetensors"

    @cached_property
    def config(self) -> TrainConfig:
        """Of its training.

        Raises: NotMeasuredError: the style's record does not tell enough. SettingsError: it tells rubbish.
        """
        painting, pictures = recorded_painting(self.style), pictures_of(self.style)
        if painting is None:
            raise NotMeasuredError(f"{self.style.name} does not say which painting it was trained on")
        flags: dict[str, Any] = {
            "data.style_picture": self.data / "styles" / painting, "data.content": self.data / "content",
            "data.features": self.data / "features", "schedule.optimizer": "adam",
            "schedule.learning_rate": LEARNING_RATE, "run.out": self.out / self.name, "run.sheet_steps": 1000,
        }  # fmt: skip
        if self.plain:
            flags |= {"losses.temporal": 0.0, "losses.noise": 0.0}
        config = resolve(str(self.style.folder), ("generator.init=none",), flags)
        steps = self.steps or -(-pictures // config.data.batch)
        return replace(config, schedule=replace(config.schedule, steps=steps))

    @property
    def pictures(self) -> int:
        """Photographs that it meets, each time it does."""
        return self.config.schedule.steps * self.config.data.batch

    def finish(
        self,
        group: ProcessGroup = SINGLE_PROCESS,
        stop: Callable[[], bool] = lambda: False,
        show: Callable[[Progress], None] | None = None,
    ) -> bool:
        """Train, or go on, unless it is done.

        Args:
            group: where to compute.
            stop: asked before every step.
            show: called after every step.
        Returns: whether it is finished; what was stopped goes on when called again.
        Raises: TrainError: as ``loop.train``; or what lies in ``out`` was trained with other settings.
        """
        if self.file.exists():
            self._check_same(self._told(), self.file)
            return True
        saved = self.config.run.out / CHECKPOINT
        if saved.exists():
            self._check_same(checkpoint.load(saved).get("settings", {}), saved)
        trainer = train(
            self.config, resume=saved.exists(), on_progress=show, stop=stop, group=group, kind=JohnsonTrainer
        )
        if trainer.share < 1.0:
            return False
        tensors = {name: value.cpu().contiguous() for name, value in trainer.result.state_dict().items()}
        with atomic_write(self.file, durable=True) as file:
            file.write(save(tensors, {"settings": dumps(self.config.to_dict())}))
        return True

    def network(self) -> Johnson:
        """The trained one, on the CPU.

        Raises: NotMeasuredError: it is not there yet. TrainError: it was trained with other settings, or is damaged.
        """
        if not self.file.exists():
            raise NotMeasuredError(f"the network is not trained; that needs a GPU: {COMMAND}")
        self._check_same(self._told(), self.file)
        network = Johnson().eval()
        with safe_open(self.file, "pt") as file:
            tensors = {name: file.get_tensor(name) for name in file.keys()}  # noqa: SIM118  # it is no dictionary
        try:
            network.load_state_dict(tensors)
        except RuntimeError as error:
            raise TrainError(f"{self.file} holds another network", hint="delete it, to train it again") from error
        return network

    def _told(self) -> dict[str, Any]:
        """The settings that the finished network was trained with."""
        try:
            with safe_open(self.file, "pt") as file:
                settings: dict[str, Any] = loads(file.metadata()["settings"])
                return settings
        except (SafetensorError, OSError, KeyError, TypeError, ValueError) as error:
            raise TrainError(f"{self.file} is damaged", hint="delete it, to train it again") from error

    def _check_same(self, settings: dict[str, Any], path: Path) -> None:
        found = [f"{one['setting']} was {one['was']} and is {one['now']}" for one in diff(self.config, settings, 0)]
        if found:
            raise TrainError(
                f"{path} was trained with other settings: {'; '.join(found)}", hint="delete it, or give another --out"
            )


def device_of(name: str | None) -> ProcessGroup:
    """The world that computes on a device: ``cuda``, ``cpu``, or by default a GPU where there is one.

    Raises: NotMeasuredError: there is no GPU, and one was asked for.
    """
    if name == "cuda" and not torch.cuda.is_available():
        raise NotMeasuredError("no GPU here: leave --device cuda away, and it takes more than a day")
    return _CpuOnly() if name == "cpu" else SINGLE_PROCESS


class _CpuOnly(ProcessGroup):
    """Leaves the GPU alone."""

    @property
    def device(self) -> torch.device:
        """The CPU."""
        return torch.device("cpu")
