"""One run on several devices or machines, as ``torchrun`` starts it: every process paints its part of each batch.

The generator has a third of a million parameters, so it is not wrapped: after the backward pass one flattened
all-reduce averages all gradients. Shares are equal and losses are means over pictures, so the mean over the processes
is that over the batch; and what a picture meets depends on its place in the whole batch alone. So one process and
several compute the same, within rounding.
"""

from __future__ import annotations

import os
import signal
import threading
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from datetime import timedelta
from typing import Any

import torch
import torch.distributed as dist
from torch import Tensor, nn

from engines.errors import ConfigError, TrainError
from rtstyle.signals import NAMES

SILENCE = timedelta(minutes=5)
"""Longest wait for the others in a step; the first process also writes checkpoints and contact sheets meanwhile."""

PATIENCE = timedelta(hours=1)
"""Longest wait while the first process of a machine downloads features and decodes clips."""


@dataclass(frozen=True)
class World:
    """Which process this is, and of how many. One alone never touches ``torch.distributed``.

    Attributes:
        rank: of this process, 0 … size − 1; 0 writes the files and talks.
        size: processes on all machines.
        local_rank: of this process on its machine; also the number of its GPU.
    """

    rank: int = 0
    size: int = 1
    local_rank: int = 0

    @classmethod
    def told(cls, environment: Mapping[str, str] = os.environ) -> World:
        """The world that ``torchrun`` tells of in RANK, WORLD_SIZE and LOCAL_RANK.

        Raises:
            ConfigError: they are no numbers, or do not fit each other.
        """
        if "WORLD_SIZE" not in environment:
            return ALONE
        names = ("RANK", "WORLD_SIZE", "LOCAL_RANK")
        try:
            rank, size, local_rank = (int(environment[name]) for name in names)
        except (KeyError, ValueError) as error:
            raise ConfigError(f"{', '.join(names)} must all be numbers", hint="torchrun sets them") from error
        if not (0 <= rank < size and 0 <= local_rank <= rank):
            raise ConfigError(f"process {rank} ({local_rank} on its machine) of {size} cannot be", hint="use torchrun")
        return cls(rank, size, local_rank) if size > 1 else ALONE

    @property
    def alone(self) -> bool:
        """Whether there is no other process."""
        return self.size == 1

    @property
    def writes(self) -> bool:
        """Whether this is the process that writes and talks."""
        return self.rank == 0

    @property
    def device(self) -> torch.device:
        """Where this process computes.

        Raises:
            TrainError: the machine has fewer GPUs than processes.
        """
        if not torch.cuda.is_available():
            return torch.device("cpu")
        count = torch.cuda.device_count()
        if self.local_rank >= count:
            raise TrainError(f"no GPU is left for process {self.local_rank} of this machine", f"it has {count}")
        return torch.device("cuda") if self.alone else torch.device("cuda", self.local_rank)

    def places(self, batch: int) -> range:
        """This process's part of a batch.

        Raises:
            ConfigError: the parts would not be equal and even, as every other picture moves.
        """
        if not self.alone and batch % (2 * self.size):
            problem = f"data.batch must be a multiple of {2 * self.size} with {self.size} processes, got {batch}"
            raise ConfigError(problem, hint=f"--batch {(batch // (2 * self.size) + 1) * 2 * self.size}")
        share = batch // self.size
        return range(self.rank * share, (self.rank + 1) * share)

    @contextmanager
    def joined(self) -> Iterator[None]:
        """Meet the others at MASTER_ADDR:MASTER_PORT, and part at the end: gloo on CPU, NCCL between GPUs.

        Raises:
            TrainError: they do not come, or are lost.
        """
        if self.alone:
            yield
            return
        device = self.device
        if device.type == "cuda":
            torch.cuda.set_device(device)
        with self.connected():
            # What the processes tell each other about the run stays on the CPU: the GPU need not be waited for.
            dist.init_process_group("cpu:gloo,cuda:nccl" if device.type == "cuda" else "gloo", timeout=SILENCE)
            yield
            dist.destroy_process_group()  # after an error the others may be in the middle of something: just leave

    @contextmanager
    def connected(self) -> Iterator[None]:
        """Raises: TrainError: another process was lost."""
        try:
            yield
        except RuntimeError as error:
            if self.alone or not _from_the_network(error):
                raise
            problem = f"process {self.rank + 1} of {self.size} has lost another one"
            raise TrainError(problem, hint="it may have told why; --resume goes on from the last checkpoint") from error

    @contextmanager
    def in_turn(self) -> Iterator[None]:
        """The first process of each machine goes ahead; the others follow, and find what it downloaded and cached."""
        if self.alone:
            yield
            return
        group = dist.new_group(backend="gloo", timeout=PATIENCE)
        if self.local_rank:
            dist.monitored_barrier(group, PATIENCE)
        yield
        if not self.local_rank:
            dist.monitored_barrier(group, PATIENCE)

    @contextmanager
    def stopping(self, stop: Callable[[], object]) -> Iterator[None]:
        """Call ``stop`` at every signal: torchrun passes on what the terminal has sent to each process already."""

        def handle(*_: object) -> None:
            threading.Thread(target=stop, name="stop", daemon=True).start()  # a handler must not take a lock

        numbers = [getattr(signal, name) for name in NAMES if hasattr(signal, name)]
        before = {n: signal.signal(n, handle) for n in numbers if signal.getsignal(n) is not signal.SIG_IGN}
        try:
            yield
        finally:
            for number, handler in before.items():
                signal.signal(number, handler)

    def agreed(self, step: int, seconds: float, stop: bool) -> tuple[float, bool]:
        """What all go by in a step: the first one's clock, and whether any was told to stop.

        Raises:
            TrainError: the others are at another step.
        """
        if self.alone:
            return seconds, stop
        told = torch.tensor([seconds if self.writes else 0.0, float(stop), step, -step], dtype=torch.float64)
        dist.all_reduce(told, dist.ReduceOp.MAX)
        clock, stops, last, first = told.tolist()
        if last != -first:
            problem = f"the processes stand at steps {-first:.0f} and {last:.0f}"
            raise TrainError(problem, hint="--out must be a folder that all machines share")
        return clock, stops > 0

    def average(self, network: nn.Module, values: Sequence[Tensor]) -> list[Tensor]:
        """Average the gradients of a network, in place, and some numbers, in one flattened all-reduce.

        Args:
            network: after its backward pass; which parameters have a gradient is the same everywhere.
            values: scalars.

        Returns:
            the averaged scalars, detached.
        """
        values = [value.detach() for value in values]
        if self.alone:
            return values
        gradients = [p.grad for p in network.parameters() if p.grad is not None]
        flat = torch.cat([*(g.float().flatten() for g in gradients), torch.stack([v.float() for v in values])])
        dist.all_reduce(flat)
        flat /= self.size
        *parts, tail = torch.split(flat, [*(g.numel() for g in gradients), len(values)])
        for gradient, part in zip(gradients, parts, strict=True):
            gradient.copy_(part.view_as(gradient))
        return list(tail.unbind())

    def mean(self, x: Tensor) -> Tensor:
        """Mean over the processes, with a gradient. Any shape → the same."""
        return x if self.alone else _summed(x) / self.size

    def sums(self, values: Sequence[float]) -> list[float]:
        """Each number summed over the processes."""
        if self.alone or not values:
            return list(values)
        told = torch.tensor(values, dtype=torch.float64)
        dist.all_reduce(told)
        return [float(value) for value in told]

    def gathered(self, x: Tensor) -> Tensor:
        """The whole batch, in order: (N, …) → (size N, …), detached."""
        x = x.detach()
        if self.alone:
            return x
        parts = [torch.empty_like(x, memory_format=torch.contiguous_format) for _ in range(self.size)]
        dist.all_gather(parts, x.contiguous())
        return torch.cat(parts)

    def drawn(self, change: Callable[[Tensor], Tensor], x: Tensor) -> Tensor:
        """A random change, as this part of the batch meets it in the whole one.

        The change draws for each picture of what it is given, so it is given as many as the whole batch has, and what
        became of the others is forgotten: a few pixelwise operations beside the networks.

        Args:
            change: (N, …) → (N, …), each picture by itself.
            x: this process's pictures.
        """
        if self.alone:
            return change(x)
        whole = change(x.repeat(self.size, *([1] * (x.ndim - 1))))
        return whole[self.rank * len(x) : (self.rank + 1) * len(x)]

    @contextmanager
    def own_draws(self, rng: torch.Generator, count: int) -> Iterator[None]:
        """Within, this process makes its ``count`` uniform draws of the ``count * size`` that all make together."""
        torch.rand(self.rank * count, generator=rng)
        yield
        torch.rand((self.size - 1 - self.rank) * count, generator=rng)


ALONE = World()


def _from_the_network(error: RuntimeError) -> bool:
    kinds = (dist.DistBackendError, dist.DistNetworkError, dist.DistStoreError)
    return isinstance(error, kinds) or any(name in str(error).lower() for name in ("gloo", "nccl", "monitoredbarrier"))


class _Sum(torch.autograd.Function):
    """Sum over the processes. Each loss depends on each summand, so the gradients are summed, too."""

    @staticmethod
    def forward(_ctx: Any, x: Tensor) -> Tensor:
        """Any shape → the same."""
        x = x.clone(memory_format=torch.contiguous_format)
        dist.all_reduce(x)
        return x

    @staticmethod
    def backward(_ctx: Any, *grads: Tensor) -> Tensor:
        """Any shape → the same."""
        grad = grads[0].clone(memory_format=torch.contiguous_format)
        dist.all_reduce(grad)
        return grad


def _summed(x: Tensor) -> Tensor:
    total: Tensor = _Sum.apply(x)  # type: ignore[no-untyped-call]
    return total


def _statistics(x: Tensor) -> tuple[Tensor, Tensor, Tensor]:
    """Mean and variance of each channel, (C,), over all processes, with gradient; and of how many values."""
    count = x.new_tensor([x.numel() // x.shape[1]], dtype=torch.float64)
    variance, mean = torch.var_mean(x, (0, 2, 3), correction=0)
    mean, variance = mean.double(), variance.double()  # E[x²] − E[x]² loses digits where the mean is large
    sums = _summed(torch.cat([count * mean, count * (variance + mean.square()), count]))
    mean, square = (sums[:-1] / sums[-1]).chunk(2)
    return mean.float(), (square - mean.square()).clamp_min(0).float(), sums[-1].detach().float()


class SharedBatchNorm2d(nn.BatchNorm2d):
    """Batch normalisation over the pictures of all processes; torch's own does that on GPUs only.

    Parameters, running statistics and formula are ``nn.BatchNorm2d``'s. Ioffe and Szegedy 2015, arXiv:1502.03167.
    """

    def forward(self, x: Tensor) -> Tensor:
        """(N, C, H, W) → the same shape and type; computed in float32."""
        if not self.training:
            return super().forward(x)
        running_mean, running_var = self.running_mean, self.running_var
        assert running_mean is not None and running_var is not None
        assert self.num_batches_tracked is not None and self.momentum is not None
        form = (1, -1, 1, 1)
        with torch.autocast(x.device.type, enabled=False):
            mean, variance, count = _statistics(x.float())
            scale = self.weight * torch.rsqrt(variance + self.eps)
            y = (x.float() - mean.view(form)) * scale.view(form) + self.bias.view(form)
        with torch.no_grad():
            self.num_batches_tracked.add_(1)
            running_mean.lerp_(mean, self.momentum)
            running_var.lerp_(variance * (count / (count - 1)), self.momentum)
        return y.to(x.dtype)


def share_statistics(network: nn.Module) -> None:
    """Put a ``SharedBatchNorm2d`` of the same state in the place of every ``BatchNorm2d``."""
    for parent in list(network.modules()):
        for name, norm in list(parent.named_children()):
            if isinstance(norm, nn.BatchNorm2d):
                shared = SharedBatchNorm2d(norm.num_features, norm.eps, norm.momentum)
                shared.load_state_dict(norm.state_dict())
                setattr(parent, name, shared)
