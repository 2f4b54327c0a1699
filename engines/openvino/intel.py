"""The engines for Intel's graphics and neural processors: the graph of the CPU engine on another device of OpenVINO.

They compute in fp16, which not every device does exactly enough for the contrasts of the network. So each frame size is
compared with the CPU once, and a device that is too coarse runs in fp32, or not at all where it has none.

No such device was at hand when this was written: it is tested with the CPU in its place.

Source: https://docs.openvino.ai/2026/openvino-workflow/running-inference/inference-devices-and-modes.html
"""

from __future__ import annotations

import logging
from dataclasses import replace
from typing import Literal

import numpy as np

from engines.base import RGB, PendingFrame, StrengthMap
from engines.cache_dirs import cache_folder
from engines.errors import EngineError
from engines.openvino.engine import CpuEngine, SizedGraph
from engines.openvino.runtime import cause_of, compile_graph, shared_core
from engines.parity import detailed_frame, mismatch
from engines.style_file import StyleModel
from engines.trusted_files import make_folder
from engines.wrapper import ReadyFrame

logger = logging.getLogger(__name__)

Device = Literal["GPU", "NPU"]

NAMES: dict[Device, str] = {"GPU": "intel-gpu", "NPU": "intel-npu"}
"""Names of the engines."""

HINTS = {"fp16": "f16", "fp32": "f32"}

DRIVERS: dict[Device, str] = {
    "GPU": "an Intel GPU needs its driver: on Linux the package intel-opencl-icd, on Windows the graphics driver",
    "NPU": "an NPU (Core Ultra) needs its driver: on Linux github.com/intel/linux-npu-driver",
}


class IntelEngine(CpuEngine):
    """Stylizes on an Intel GPU or NPU; implements ``engines.base.Engine``.

    Args:
        threads: CPU threads; they only compile.
        device: ``GPU`` or ``NPU``.
        fall_back: leave frame sizes to the CPU that the device does not stylize as the CPU does; otherwise these raise.

    Raises:
        EngineError: OpenVINO finds no such device.
    """

    def __init__(
        self, style: StyleModel, threads: int | None = None, device: Device = "GPU", *, fall_back: bool = False
    ) -> None:
        full_name = device_name(device)
        super().__init__(style, threads)
        self._options = {"PERFORMANCE_HINT": "LATENCY"}
        self._device, self._fall_back = device, fall_back
        self.info = replace(self.info, name=NAMES[device], device=full_name, precision="fp16", in_flight=1)

    def submit(self, rgb: RGB, strength: float | StrengthMap = 1.0, colours: float = 0.0) -> PendingFrame:
        """Stylize one frame at once: a stream for each core is the CPU's."""
        return ReadyFrame(self(rgb, strength, colours))

    def _compile(self, height: int, width: int) -> SizedGraph:
        """Compile for a frame size, in fp32 if fp16 looks different from the CPU."""
        assert self._graph is not None
        frame = detailed_frame(height, width)
        on_cpu = compile_graph(self._core, self._graph, height, width, {"INFERENCE_PRECISION_HINT": "f32"})
        expected = _stylized(SizedGraph(on_cpu, on_cpu.create_infer_request()), frame)
        problem = ""
        for precision in ("fp16", "fp32") if self.info.precision == "fp16" else ("fp32",):
            options = {**self._options, **self._cache(), "INFERENCE_PRECISION_HINT": HINTS[precision]}
            try:
                graph = compile_graph(self._core, self._graph, height, width, options, self._device)
                found = SizedGraph(graph, graph.create_infer_request())
                problem = mismatch(expected, _stylized(found, frame))
            except RuntimeError as error:  # an NPU has no fp32
                problem = problem or cause_of(error)
                continue
            if not problem:
                self.info = replace(self.info, precision=precision)
                return found
            logger.info("%s in %s differs from the CPU: %s", self.info.name, precision, problem)
        problem = f"{self.info.name} cannot stylize frames of {width}×{height} as the CPU does: {problem}"
        if not self._fall_back:
            raise EngineError(problem, hint="use --engine cpu (in Python: engine='cpu')")
        logger.warning("%s; the CPU stylizes them", problem)
        return SizedGraph(on_cpu, on_cpu.create_infer_request())

    def _cache(self) -> dict[str, str]:
        """Return the option that keeps compiled graphs, which take seconds; not those of each share of own colours."""
        folder = cache_folder("engines") / "openvino"
        if self._colours:
            return {}
        try:
            make_folder(folder)
        except OSError:
            return {}
        return {"CACHE_DIR": str(folder)}


def device_name(device: Device) -> str:
    """Return the full name of a device. Raise EngineError if there is none."""
    core = shared_core()
    try:
        if device in core.available_devices or any(one.startswith(f"{device}.") for one in core.available_devices):
            return str(core.get_property(device, "FULL_DEVICE_NAME")).strip()
        why = ""
    except RuntimeError as error:
        why = f": {cause_of(error)}"
    raise EngineError(f"the {NAMES[device]} engine finds no such processor{why}", hint=DRIVERS[device])


def _stylized(sized: SizedGraph, frame: RGB) -> RGB:
    outputs = sized.request.infer({0: frame[None], 1: np.ones(1, np.float32)})
    return np.array(outputs[0][0], np.uint8)
