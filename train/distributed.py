"""Data-parallel training on several devices or machines, started by ``torchrun``.

Every process stylizes an equal part of each batch, and one flattened all-reduce averages all gradients after the
backward pass: the generator is too small to be worth wrapping. Losses are means over pictures and random numbers depend
on a picture's place in the whole batch, so several processes compute the same as one, within rounding.
"""

from __future__ import annotations

import logging
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

from engines.cuda import driver
from engines.errors import ConfigError, EngineError, TrainError
from rtstyle.signals import NAMES

logger = logging.getLogger(__name__)

STEP_TIMEOUT = timedelta(minutes=5)
"""Longest wait for the other processes in a step, in which the main one may write checkpoints and contact sheets."""

SETUP_TIMEOUT = timedelta(hours=1)
"""Longest wait while the first process of a machine downloads features and decodes clips."""


@dataclass(frozen=True)
class ProcessGroup:
    """The processes of a run, and which of them this is. A single process never uses ``torch.distributed``.

    Attributes:
        rank: rank of this process, 0 … size − 1; process 0 writes files and logs.
        size: number of processes on all machines.
        local_rank: rank of this process on its machine; also the number of its GPU.
    """

    rank: int = 0
    size: int = 1
    local_rank: int = 0

    @classmethod
    def from_environment(cls, environment: Mapping[str, str] = os.environ) -> ProcessGroup:
        """Read RANK, WORLD_SIZE and LOCAL_RANK, as ``torchrun`` sets them.

        Raises:
            ConfigError: they are not numbers, or contradict each other.
        """
        if "WORLD_SIZE" not in environment:
            return SINGLE_PROCESS
        names = ("RANK", "WORLD_SIZE", "LOCAL_RANK")
        try:
            rank, size, local_rank = (int(environment[name]) for name in names)
        except (KeyError, ValueError) as error:
            raise ConfigError(f"{', '.join(names)} must all be numbers", hint="torchrun sets them") from error
        if not (0 <= rank < size and 0 <= local_rank <= rank):
            raise ConfigError(
                f"there is no process {rank} ({local_rank} on its machine) of {size}", hint="use torchrun"
            )
        return cls(rank, size, local_rank) if size > 1 else SINGLE_PROCESS

    @property
    def is_single(self) -> bool:
        """True if there is no other process."""
        return self.size == 1

    @property
    def is_main(self) -> bool:
        """True in the process that writes files and logs."""
        return self.rank == 0

    @property
    def device(self) -> torch.device:
        """The device of this process.

        Raises:
            TrainError: the machine has fewer GPUs than processes.
        """
        if not torch.cuda.is_available():
            return torch.device("cpu")
        count = torch.cuda.device_count()
        if self.local_rank >= count:
            raise TrainError(f"no GPU for process {self.local_rank} of this machine", hint=f"it has {count}")
        return torch.device("cuda") if self.is_single else torch.device("cuda", self.local_rank)

    def say_if_gpu_is_unused(self) -> None:
        """Warn that an NVIDIA GPU of this machine does not train, and why: people would wait for hours."""
        if not self.is_main or self.device.type != "cpu":
            return
        why = driver.why_unavailable()
        try:
            if driver.device_count():
                driver.check("cuda")
        except EngineError as error:
            why = str(error)
        if why:
            logger.warning("the NVIDIA GPU is not used, and the CPU trains many times slower: %s", why)

    def places(self, batch: int) -> range:
        """Return the places of this process's pictures in a batch.

        Raises:
            ConfigError: the parts would not be equal and even; they must be, because every other picture moves.
        """
        if not self.is_single and batch % (2 * self.size):
            problem = f"data.batch must be a multiple of {2 * self.size} with {self.size} processes, got {batch}"
            raise ConfigError(problem, hint=f"--batch {(batch // (2 * self.size) + 1) * 2 * self.size}")
        share = batch // self.size
        return range(self.rank * share, (self.rank + 1) * share)

    @contextmanager
    def joined(self) -> Iterator[None]:
        """Join the other processes at MASTER_ADDR:MASTER_PORT, with gloo on the CPU and NCCL between GPUs.

        Raises:
            TrainError: another process does not join, or is lost.
        """
        if self.is_single:
            yield
            return
        device = self.device
        if device.type == "cuda":
            torch.cuda.set_device(device)
        with self.lost_process_as_error():
            # What they exchange about the run stays on the CPU, so that nothing waits for the GPU.
            dist.init_process_group("cpu:gloo,cuda:nccl" if device.type == "cuda" else "gloo", timeout=STEP_TIMEOUT)
            yield
            dist.destroy_process_group()  # not after an error: the others may be in the middle of a step

    @contextmanager
    def lost_process_as_error(self) -> Iterator[None]:
        """Turn the errors that torch raises when a process is lost into a ``TrainError``."""
        try:
            yield
        except RuntimeError as error:
            if self.is_single or not _is_network_error(error):
                raise
            problem = f"process {self.rank + 1} of {self.size} lost the connection to another one"
            raise TrainError(problem, hint="see its output; continue with --resume") from error

    @contextmanager
    def main_first(self) -> Iterator[None]:
        """Let the first process of each machine run the body first, so that the others find what it has cached."""
        if self.is_single:
            yield
            return
        group = dist.new_group(backend="gloo", timeout=SETUP_TIMEOUT)
        if self.local_rank:
            dist.monitored_barrier(group, SETUP_TIMEOUT)
        yield
        if not self.local_rank:
            dist.monitored_barrier(group, SETUP_TIMEOUT)

    @contextmanager
    def stop_on_signals(self, stop: Callable[[], object]) -> Iterator[None]:
        """Call ``stop`` at every signal: torchrun repeats signals that the terminal has sent already."""

        def handle(*_: object) -> None:
            threading.Thread(target=stop, name="stop", daemon=True).start()  # a handler must not take a lock

        numbers = [getattr(signal, name) for name in NAMES if hasattr(signal, name)]
        before = {n: signal.signal(n, handle) for n in numbers if signal.getsignal(n) is not signal.SIG_IGN}
        try:
            yield
        finally:
            for number, handler in before.items():
                signal.signal(number, handler)

    def synchronise(self, step: int, seconds: float, stop: bool) -> tuple[float, bool]:
        """Return the clock of the main process, and True if any process shall stop.

        Raises:
            TrainError: another process is at another step.
        """
        if self.is_single:
            return seconds, stop
        values = torch.tensor([seconds if self.is_main else 0.0, float(stop), step, -step], dtype=torch.float64)
        dist.all_reduce(values, dist.ReduceOp.MAX)
        clock, stops, last, first = values.tolist()
        if last != -first:
            problem = f"the processes are at steps {-first:.0f} and {last:.0f}"
            raise TrainError(problem, hint="--out must be a folder shared by all machines")
        return clock, stops > 0

    def average_gradients(self, network: nn.Module, values: Sequence[Tensor]) -> list[Tensor]:
        """Average the gradients of a network in place, and return the averaged scalars, in one flattened all-reduce.

        The same parameters must have a gradient in every process.
        """
        values = [value.detach() for value in values]
        if self.is_single:
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
        """Return the mean over the processes, with a gradient. Any shape → same shape."""
        return x if self.is_single else _sum(x) / self.size

    def sum(self, values: Sequence[float]) -> list[float]:
        """Sum each number over the processes."""
        if self.is_single or not values:
            return list(values)
        total = torch.tensor(values, dtype=torch.float64)
        dist.all_reduce(total)
        return [float(value) for value in total]

    def gather(self, x: Tensor) -> Tensor:
        """Return the whole batch, in order and detached. (N, …) → (size N, …)."""
        x = x.detach()
        if self.is_single:
            return x
        parts = [torch.empty_like(x, memory_format=torch.contiguous_format) for _ in range(self.size)]
        dist.all_gather(parts, x.contiguous())
        return torch.cat(parts)

    def apply_random(self, change: Callable[[Tensor], Tensor], x: Tensor) -> Tensor:
        """Apply a random change to this part of a batch as if to the whole batch.

        The change draws numbers for every picture it gets, so it gets as many as the whole batch has, and the others
        are dropped: cheap, compared with the networks. It must change each picture independently.
        """
        if self.is_single:
            return change(x)
        whole = change(x.repeat(self.size, *([1] * (x.ndim - 1))))
        return whole[self.rank * len(x) : (self.rank + 1) * len(x)]

    @contextmanager
    def own_draws(self, rng: torch.Generator, count: int) -> Iterator[None]:
        """Skip the uniform draws of the other processes before and after the ``count`` draws in the body."""
        torch.rand(self.rank * count, generator=rng)
        yield
        torch.rand((self.size - 1 - self.rank) * count, generator=rng)


SINGLE_PROCESS = ProcessGroup()


def _is_network_error(error: RuntimeError) -> bool:
    kinds = (dist.DistBackendError, dist.DistNetworkError, dist.DistStoreError)
    return isinstance(error, kinds) or any(name in str(error).lower() for name in ("gloo", "nccl", "monitoredbarrier"))


class _Sum(torch.autograd.Function):
    """Sum over the processes. Each loss depends on each summand, so the gradients are summed too."""

    @staticmethod
    def forward(_ctx: Any, x: Tensor) -> Tensor:
        """Any shape → same shape."""
        x = x.clone(memory_format=torch.contiguous_format)
        dist.all_reduce(x)
        return x

    @staticmethod
    def backward(_ctx: Any, *grads: Tensor) -> Tensor:
        """Any shape → same shape."""
        grad = grads[0].clone(memory_format=torch.contiguous_format)
        dist.all_reduce(grad)
        return grad


def _sum(x: Tensor) -> Tensor:
    total: Tensor = _Sum.apply(x)  # type: ignore[no-untyped-call]
    return total


def _statistics(x: Tensor) -> tuple[Tensor, Tensor, Tensor]:
    """Return mean and variance per channel, (C,), over all processes, with gradient, and the number of values."""
    count = x.new_tensor([x.numel() // x.shape[1]], dtype=torch.float64)
    variance, mean = torch.var_mean(x, (0, 2, 3), correction=0)
    mean, variance = mean.double(), variance.double()  # E[x²] − E[x]² loses digits where the mean is large
    sums = _sum(torch.cat([count * mean, count * (variance + mean.square()), count]))
    mean, square = (sums[:-1] / sums[-1]).chunk(2)
    return mean.float(), (square - mean.square()).clamp_min(0).float(), sums[-1].detach().float()


class SharedBatchNorm2d(nn.BatchNorm2d):
    """Batch normalisation over the pictures of all processes; torch's own supports GPUs only.

    Parameters, running statistics and formula are those of ``nn.BatchNorm2d``; Ioffe and Szegedy 2015, 1502.03167.
    """

    def forward(self, x: Tensor) -> Tensor:
        """(N, C, H, W) → same shape and type; computed in float32."""
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
    """Replace every ``BatchNorm2d`` by a ``SharedBatchNorm2d`` with the same state."""
    for parent in list(network.modules()):
        for name, norm in list(parent.named_children()):
            if isinstance(norm, nn.BatchNorm2d):
                shared = SharedBatchNorm2d(norm.num_features, norm.eps, norm.momentum)
                shared.load_state_dict(norm.state_dict())
                setattr(parent, name, shared)
