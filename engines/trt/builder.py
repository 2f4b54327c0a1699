"""Build a TensorRT engine: its key, its bytes, the check that it gives the network's result, and its speedup."""

from __future__ import annotations

import hashlib
import logging
import tempfile
import time
from collections.abc import Callable, Mapping
from pathlib import Path
from statistics import median
from typing import Any

import torch
from torch import Tensor, nn

from engines.cuda import fp16
from engines.cuda.body import Body
from engines.cuda.device_errors import NO_KERNEL, is_out_of_memory
from engines.cuda.engine import require
from engines.cuda.fp16 import Fp16Body, Fp16Graph, to_fp16
from engines.model import cells, generator, local_contrast
from engines.model.cells import pad_reflect
from engines.model.generator import Arch, FrameGraph, load_generator
from engines.style_file import StyleModel, sha256
from engines.trt import build_worker
from engines.trt.compat import driver_version, import_torch_tensorrt, installed, recorded_weights, serialize
from engines.trt.plan_record import ANY_STYLE, MIN_SPEEDUP, SPEEDUP, Plan, PlanKey, too_slow
from engines.trt.refit import random_generator, refit_table, refittable_weights
from engines.trt.runtime import REFIT, load_body

DEVICE = torch.device("cuda")

ROUNDS, FRAMES = 15, 8
"""Rounds of a speed comparison, and frames of each engine in a round: both suffer from other load on the GPU."""

logger = logging.getLogger(__name__)


class FloatOutputGraph(nn.Module):
    """The frame graph of a ``to_fp16`` generator without its last cast, as Torch-TensorRT cannot return bytes."""

    def __init__(self, generator: generator.Generator) -> None:
        super().__init__()
        # Not called `graph`: torch.export's modules have an attribute of that name.
        self.whole = FrameGraph(generator, shuffle_bytes=False)

    def forward(self, frame: Tensor, strength: Tensor) -> Tensor:
        """(1, height, width, 3) uint8 and (1,) float32 → (1, height, width, 3) fp16, to be truncated."""
        return self.whole.stylize_padded(pad_reflect(frame.half()), strength, frame.shape[1], frame.shape[2])


class PlanBuilder:
    """Builds with Torch-TensorRT: strongly typed fp16, one network, one frame size.

    Args:
        shared: build one engine for all styles of an architecture, whose weights are refitted on loading. It is built
            from random weights and its key says ``ANY_STYLE``. If that does not work, building it fails, the cache
            remembers the failure, and each style gets an engine of its own.
    """

    def __init__(self, *, shared: bool) -> None:
        self.shared = shared

    def key(self, style: StyleModel, height: int, width: int) -> PlanKey:
        """See ``engines.trt.build_worker.Builder``."""
        require()
        flavour = installed()
        major, minor = torch.cuda.get_device_capability(DEVICE)
        flavour.check(f"{major}.{minor}")
        return PlanKey(
            style_sha256=ANY_STYLE if self.shared else style.weights_sha256(),
            graph_sha256=sha256(style.graph),
            height=height,
            width=width,
            gpu=torch.cuda.get_device_name(DEVICE),
            capability=f"{major}.{minor}",
            driver=driver_version(),
            cuda=str(torch.version.cuda),
            tensorrt=flavour.runtime,
            torch=torch.__version__,
            torch_tensorrt=flavour.torch_tensorrt,
            flags=f"{_flags(self.settings(Path()))}; {_flags(style.arch)}; code {code_sha256()[:16]}",
        )

    def build(self, style: StyleModel, height: int, width: int) -> tuple[bytes, Mapping[str, Any]]:
        """See ``engines.trt.build_worker.Builder``. An engine whose result is not the network's is an error."""
        require()
        flavour = installed()
        logger.info("loading TensorRT")
        torch_tensorrt = import_torch_tensorrt()
        logger.info("building for %d×%d with %s; this takes minutes", width, height, flavour.runtime)
        # A folder of its own: Torch-TensorRT's default is shared by all users, and it would load what lies there.
        with tempfile.TemporaryDirectory(prefix="rtstyle-") as folder:
            plan, extra = self._plan(torch_tensorrt, style, height, width, self.settings(Path(folder)))
        logger.info("comparing its output with the network's")
        body = load_body(flavour, Plan(plan, 0.0, extra), style, height, width, DEVICE)
        logger.info("comparing its speed with the cuda engine's")
        speedup = measure_speedup(body, style)
        if reason := too_slow(speedup, MIN_SPEEDUP):
            logger.info("%s: auto stays with cuda", reason)
        return plan, {**extra, **speedup}

    def settings(self, folder: Path) -> dict[str, Any]:
        """Return the settings for Torch-TensorRT, which writes files into the private ``folder`` while it builds.

        ``engines.trt.compat`` drops names that a version does not know.
        """
        return {
            "min_block_size": 1,
            "require_full_compilation": True,
            "use_explicit_typing": True,
            "disable_tf32": True,  # the contrasts are fp32 because ten bits are too few for them
            "immutable_weights": not self.shared,
            "cache_built_engines": False,
            "reuse_cached_engines": False,
            "engine_cache_dir": str(folder),
            "timing_cache_path": str(folder / "timing.bin"),
        }

    def _plan(
        self, torch_tensorrt: Any, style: StyleModel, height: int, width: int, settings: Mapping[str, Any]
    ) -> tuple[bytes, dict[str, Any]]:
        arch = Arch.from_dict(dict(style.arch))
        network = to_fp16(random_generator(arch) if self.shared else load_generator(style))
        weights = refittable_weights(network, height, width) if self.shared else {}
        module = FloatOutputGraph(network).eval().to(DEVICE)
        frame, strength = (
            torch.zeros((1, height, width, 3), dtype=torch.uint8, device=DEVICE),
            torch.ones(1, device=DEVICE),
        )
        example = (frame, strength)
        with torch.no_grad():
            program = torch.export.export(module, example)
            if not self.shared:
                return serialize(torch_tensorrt.dynamo, program, example, settings), {}
            with recorded_weights(torch_tensorrt) as recorded:
                plan = serialize(torch_tensorrt.dynamo, program, example, settings)
        return plan, {REFIT: refit_table(recorded, weights)}


SHARED = PlanBuilder(shared=True)
"""Builds one engine for all styles."""

SINGLE = PlanBuilder(shared=False)
"""Builds an engine for one style, for where the shared one does not work."""

BUILDERS: dict[str, PlanBuilder] = dict(zip(build_worker.BUILDERS, (SHARED, SINGLE), strict=True))
"""Builders by the names that a build process knows them by; each is tried if the one before fails."""


def measure_speedup(body: Body, style: StyleModel) -> dict[str, float]:
    """Return an engine's speedup over the cuda engine as metadata; empty if the GPU has no room for both."""
    _, height, width, _ = body.frame.shape
    device = body.frame.device
    try:
        cuda = Fp16Body(Fp16Graph(load_generator(style), device), height, width, device)
        return {SPEEDUP: round(median_speedup(body.run, cuda.run, lambda: _synchronize(device)), 3)}
    except RuntimeError as error:
        if is_out_of_memory(error) or NO_KERNEL in str(error):  # for both at once; the engine itself works
            return {}
        raise


def median_speedup(
    one: Callable[[], None],
    other: Callable[[], None],
    wait: Callable[[], None],
    clock: Callable[[], float] = time.perf_counter,
) -> float:
    """Return how many times as fast as ``other`` ``one`` is: the median over ``ROUNDS``, each of which times both.

    Both enqueue the work for a frame; ``wait`` returns when all frames are done.
    """

    def seconds(run: Callable[[], None]) -> float:
        start_s = clock()
        for _ in range(FRAMES):
            run()
        wait()
        return clock() - start_s

    seconds(one), seconds(other)
    return median(seconds(other) / seconds(one) for _ in range(ROUNDS))


def code_sha256() -> str:
    """Return a hash of the code that an engine is made from and timed against; it is part of the key."""
    files = (Path(str(module.__file__)) for module in (cells, generator, local_contrast, fp16))
    return hashlib.sha256(b"".join(file.read_bytes() for file in (*files, Path(__file__)))).hexdigest()


def _synchronize(device: torch.device) -> None:
    if device.type == "cuda":
        torch.cuda.synchronize(device)


def _flags(settings: Mapping[str, Any]) -> str:
    """Return the settings as one line, without paths."""
    return ", ".join(f"{name}={value}" for name, value in sorted(settings.items()) if not isinstance(value, str))
