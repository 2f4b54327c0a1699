"""Count what a frame's Triton kernels move and what they are compiled to, and write ``benchmarks/RESULTS-KERNELS.md``.

    python -m benchmarks.kernels

No GPU is needed, and nothing here is a time: bytes follow from the shapes, and the compiler tells the rest.
"""

from __future__ import annotations

import os
import re
import subprocess
import tempfile
from collections import Counter
from collections.abc import Callable
from dataclasses import dataclass
from importlib.metadata import version
from pathlib import Path
from typing import Any
from unittest.mock import patch

import torch
import triton
from torch import Tensor
from triton.backends.compiler import GPUTarget
from triton.compiler import ASTSource
from triton.runtime.jit import JITFunction

from engines.cuda.fp16 import Fp16Graph
from engines.cuda.triton_body import compute_change
from engines.cuda.triton_ends import last, make_cells
from engines.model.generator import Arch, Generator

RESULTS = Path(__file__).parent / "RESULTS-KERNELS.md"

CAPABILITIES = (80, 86, 89, 90, 100, 120)
"""Ampere, Ada, Hopper and Blackwell: all that compute a whole frame in Triton."""

SIZE = (720, 1280)
"""Height and width, pixels."""

TYPES = {torch.uint8: "*u8", torch.float16: "*fp16", torch.float32: "*fp32"}
ALIGNED = [["tt.divisibility", 16]]
"""What Triton is told of every tensor here, and of sizes that are such multiples and specialize a kernel."""


@dataclass(frozen=True)
class Launch:
    """One launch of a kernel.

    Attributes:
        kernel: what was launched.
        signature: type of each parameter.
        constants: values of those that are known to the compiler.
        aligned: numbers of those that are multiples of 16.
        options: of the compiler.
        bytes: of all tensors that were passed; each is read or written once.
    """

    kernel: Any
    signature: dict[str, str]
    constants: dict[str, Any]
    aligned: tuple[int, ...]
    options: dict[str, Any]
    bytes: int

    @property
    def name(self) -> str:
        """Name of the kernel; of a convolution also what it does."""
        known = self.constants
        name = str(self.kernel.__name__).strip("_")
        if "stride" in known:
            halved = ", halved" if known["stride"] == 2 else ""
            name = f"{known['side']}×{known['side']}, {known['all_in']} → {known['all_out']}{halved}"
            name += ", contrasts added" if "maps" not in known else ""
            name += ", a map added" if "added" not in known else ""
            name += f", then 1×1 → {known['all_then']}" if "then" not in known else ""
        return name

    def key(self) -> str:
        """Return what launches of one compiled kernel have in common."""
        return f"{self.kernel.__name__} {self.signature} {self.constants} {self.aligned} {self.options}"

    def compile(self, capability: int) -> Any:
        """Return Triton's ``CompiledKernel`` for a compute capability, times ten."""
        attributes = {(number,): ALIGNED for number in self.aligned}
        source = ASTSource(self.kernel, self.signature, self.constants, attributes)
        return triton.compile(source, target=GPUTarget("cuda", capability, 32), options=self.options)


def launches(work: Callable[[], object]) -> list[Launch]:
    """Return the kernels that ``work`` launches, without running any."""
    found: list[Launch] = []

    def record(kernel: Any, *values: Any, grid: Any, warmup: bool, **options: Any) -> None:  # noqa: ARG001
        signature, constants, aligned = {}, {}, []
        for number, (parameter, value) in enumerate(zip(kernel.params, values, strict=True)):
            if parameter.is_constexpr or value is None:
                signature[parameter.name], constants[parameter.name] = "constexpr", value
                continue
            signature[parameter.name] = TYPES[value.dtype] if isinstance(value, Tensor) else "i32"
            if isinstance(value, Tensor) or not (parameter.do_not_specialize or value % 16):
                aligned.append(number)
        moved = sum(value.nbytes for value in values if isinstance(value, Tensor))
        found.append(Launch(kernel, signature, constants, tuple(aligned), options, moved))

    with patch.object(JITFunction, "run", record), torch.no_grad():
        work()
    return found


def frame_launches(arch: Arch, height: int, width: int) -> list[Launch]:
    """Return the kernels of one frame in Triton, in order."""
    meta = torch.device("meta")
    network = Fp16Graph(Generator(arch), meta).generator
    frame = torch.empty((1, height, width, 3), dtype=torch.uint8, device=meta)

    def compute() -> None:
        change = compute_change(network, frame)
        last(frame, change, network.softening, torch.empty(1, device=meta), torch.empty_like(frame))

    return launches(compute)


def cells_launches(height: int, width: int) -> list[Launch]:
    """Return the kernel that replaces the first one where torch's own layers follow."""
    return launches(lambda: make_cells(torch.empty((1, height, width, 3), dtype=torch.uint8, device="meta")))


def resources(compiled: Any) -> tuple[int, int, int, int]:
    """Return instructions of the machine code, registers, bytes of the stack for each thread, and shared memory."""
    with tempfile.TemporaryDirectory() as folder:
        cubin = Path(folder) / "kernel.cubin"
        cubin.write_bytes(compiled.asm["cubin"])
        tools = triton.knobs.nvidia
        code = _output(tools.nvdisasm.path, "-c", cubin)
        usage = re.search(r"REG:(\d+) STACK:(\d+)", _output(tools.cuobjdump.path, "--dump-resource-usage", cubin))
    assert usage is not None
    lines = re.findall(r"^\s+/\*[0-9a-f]{4,}\*/", code, re.MULTILINE)
    return len(lines), int(usage[1]), int(usage[2]), compiled.metadata.shared


def _output(*command: str | Path) -> str:
    return subprocess.run(command, capture_output=True, text=True, check=True).stdout


def report() -> str:
    """Compile everything and return the report."""
    frame = frame_launches(Arch(), *SIZE)
    times = Counter(launch.key() for launch in frame)
    columns = [f"{number // 10}.{number % 10}" for number in CAPABILITIES]
    lines = [
        f"| kernel | launches | MB | {' | '.join(columns)} |",
        f"|---|---|---|{'---|' * len(columns)}",
    ]
    for launch in {launch.key(): launch for launch in frame}.values():
        cells = []
        for capability in CAPABILITIES:
            instructions, registers, stack, shared = resources(launch.compile(capability))
            cells.append(f"{instructions}, {registers}, {shared / 1024:.0f}" + (f", stack {stack}" if stack else ""))
        moved = f"{launch.bytes / 1e6:.1f}"
        lines.append(f"| {launch.name} | {times[launch.key()]} | {moved} | {' | '.join(cells)} |")
    total = sum(launch.bytes for launch in frame) / 1e6
    lines.append(f"| **all** | **{len(frame)}** | **{total:.0f}** |{' |' * len(columns)}")
    return "\n".join(lines)


HEAD = """# What a frame's Triton kernels are compiled to

Written by `python -m benchmarks.kernels`; see `body="triton"` in [docs/engines.md](../docs/engines.md). **Counted, not
measured:** none of it has run on a GPU, and none of the figures is a time.
"""

NOTES = """
- The default architecture and a frame of {width}×{height}. MB: what one launch moves if it reads or writes every tensor
  once.
- For each compute capability: instructions of the machine code, registers of a thread, kB of shared memory of a
  program; and bytes of a thread's stack, if registers did not suffice. Triton {triton}.
- Turing (7.5) is not here: Triton has not used its matrix units since version 3.3, so torch's own layers run there.
"""


def main() -> None:
    """Count, print and write."""
    os.environ.setdefault("TRITON_DEFAULT_FP_FUSION", "1")
    table = report()
    print(table, flush=True)
    notes = NOTES.format(height=SIZE[0], width=SIZE[1], triton=version("triton"))
    RESULTS.write_text(f"{HEAD}\n{table}\n{notes}", encoding="utf-8")


if __name__ == "__main__":
    main()
