"""Building a TensorRT engine: its key, its bytes, and the proof that it paints what the network paints."""

from __future__ import annotations

import hashlib
import tempfile
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

import torch
from torch import Tensor, nn

from engines.cuda import fp16
from engines.cuda.engine import require
from engines.cuda.fp16 import halved
from engines.model import generator, local_contrast
from engines.model.generator import Arch, FrameGraph, load_generator, reflected
from engines.style_file import StyleModel, sha256
from engines.trt import trt_gain
from engines.trt.compat import driver_version, import_torch_tensorrt, installed, recorded_weights, serialized
from engines.trt.plan_record import ANY_STYLE, Plan, PlanKey, too_slow
from engines.trt.refit import exchangeable, random_generator, table
from engines.trt.runtime import REFIT, load_body

DEVICE = torch.device("cuda")


class Numbers(nn.Module):
    """The frame graph without its last cast: TensorRT takes bytes and, by way of Torch-TensorRT, gives none.

    Args:
        generator: of ``halved``.
    """

    def __init__(self, generator: generator.Generator) -> None:
        super().__init__()
        # Not called `graph`: torch.export's modules have an attribute of that name.
        self.whole = FrameGraph(generator, shuffle_bytes=False)

    def forward(self, frame: Tensor, strength: Tensor) -> Tensor:
        """(1, height, width, 3) uint8 and (1,) float32 → (1, height, width, 3) fp16, to be truncated."""
        return self.whole.painted(reflected(frame.half()), strength, frame.shape[1], frame.shape[2])


class PlanBuilder:
    """Builds with Torch-TensorRT: strongly typed fp16, one network, one frame size.

    Args:
        shared: one engine for all styles of a shape, whose weights are exchanged when it is loaded. It is built from
            random weights, so that it is no style's, and its key says ``ANY_STYLE``. Where that does not work, building
            it fails, the cache remembers so, and each style has an engine of its own.
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
            style_sha256=ANY_STYLE if self.shared else sha256(style.weights),
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
            flags=f"{_flags(self.settings(Path()))}; {_arch(style)}; code {code_sha256()[:16]}",
        )

    def build(
        self, style: StyleModel, height: int, width: int, told: Callable[[str], None]
    ) -> tuple[bytes, Mapping[str, Any]]:
        """See ``engines.trt.build_worker.Builder``.

        Raises:
            EngineError: TensorRT cannot build it, or what it built paints another picture.
        """
        require()
        flavour = installed()
        told("loads TensorRT")
        torch_tensorrt = import_torch_tensorrt()
        told(f"builds for {width}×{height} with {flavour.runtime}; this takes minutes")
        # A folder of its own: Torch-TensorRT's is shared by all users, and what lies there would be loaded.
        with tempfile.TemporaryDirectory(prefix="rtstyle-") as folder:
            plan, extra = self._plan(torch_tensorrt, style, height, width, self.settings(Path(folder)))
        told("compares its picture with the network's")
        body = load_body(flavour, Plan(plan, 0.0, extra), style, height, width, DEVICE)
        told("compares its speed with that of cuda")
        gain = trt_gain.measured(body, style)
        if slow := too_slow(gain):
            told(f"{slow}: auto stays with cuda")
        return plan, {**extra, **gain}

    def settings(self, folder: Path) -> dict[str, Any]:
        """Of Torch-TensorRT. Names that a version does not know are left out, see ``engines.trt.compat``.

        Args:
            folder: for what it writes while it builds; private.
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
        network = halved(random_generator(_shape(style)) if self.shared else load_generator(style))
        weights = exchangeable(network, height, width) if self.shared else {}
        module = Numbers(network).eval().to(DEVICE)
        example = (
            torch.zeros((1, height, width, 3), dtype=torch.uint8, device=DEVICE),
            torch.ones(1, device=DEVICE),
        )
        with torch.no_grad():
            program = torch.export.export(module, example)
            if not self.shared:
                return serialized(torch_tensorrt.dynamo, program, example, settings), {}
            with recorded_weights(torch_tensorrt) as recorded:
                plan = serialized(torch_tensorrt.dynamo, program, example, settings)
        return plan, {REFIT: table(recorded, weights)}


BUILDER = PlanBuilder(shared=True)
"""One engine for all styles."""

OWN = PlanBuilder(shared=False)
"""An engine of one style, where the shared one cannot be had."""


def code_sha256() -> str:
    """Hash of the code that an engine is made from and timed against: another version may have another network."""
    files = (Path(str(module.__file__)) for module in (generator, local_contrast, fp16))
    return hashlib.sha256(b"".join(file.read_bytes() for file in (*files, Path(__file__)))).hexdigest()


def _flags(settings: Mapping[str, Any]) -> str:
    """Settings as one line, without those that are places."""
    return ", ".join(f"{name}={value}" for name, value in sorted(settings.items()) if not isinstance(value, str))


def _shape(style: StyleModel) -> Arch:
    return Arch.from_dict(dict(style.arch))


def _arch(style: StyleModel) -> str:
    return ", ".join(f"{name} {value}" for name, value in sorted(style.arch.items()))
