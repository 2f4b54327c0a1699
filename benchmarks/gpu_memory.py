"""GPU memory that one process takes, reported by that process as one JSON object.

    python -m benchmarks.gpu_memory STYLE_FOLDER HEIGHT WIDTH

``beyond_mb``: the memory in use on the whole GPU, less that after starting CUDA. ``torch_mb``, ``torch_peak_mb``:
torch's share of it, now and at most. MB are 10⁶ bytes. No other program may use the GPU meanwhile.
"""

from __future__ import annotations

import json
import shutil
import subprocess
import sys
from pathlib import Path

from benchmarks.report import ROOT
from benchmarks.subject import NotMeasuredError

FRAMES = 100


def measured(folder: Path, size: tuple[int, int], timeout_s: float = 300.0) -> dict[str, float]:
    """Measure in a fresh process.

    Raises:
        NotMeasuredError: it failed.
    """
    command = [sys.executable, "-m", "benchmarks.gpu_memory", str(folder.resolve()), *map(str, size)]
    try:
        done = subprocess.run(command, cwd=ROOT, capture_output=True, text=True, timeout=timeout_s, check=False)
    except subprocess.TimeoutExpired as error:
        raise NotMeasuredError(f"it took more than {timeout_s:.0f} s") from error
    if done.returncode:
        raise NotMeasuredError((done.stderr.strip().splitlines() or ["no output"])[-1])
    held: dict[str, float] = json.loads(done.stdout.strip().splitlines()[-1])
    return held


def driver() -> str:
    """Return the version of the GPU's driver, from ``nvidia-smi``."""
    if shutil.which("nvidia-smi") is None:
        return "unknown"
    command = ["nvidia-smi", "--query-gpu=driver_version", "--format=csv,noheader"]
    done = subprocess.run(command, capture_output=True, text=True, check=False)
    return (done.stdout.strip().splitlines() or ["unknown"])[0]


def _held(folder: str, height: int, width: int) -> dict[str, float]:
    import torch

    from benchmarks.gpu_runs import flown, pictures
    from engines.cuda.engine import CudaEngine
    from engines.style_file import StyleModel

    torch.zeros(1, device="cuda").cpu()  # starts the context, and its first kernel
    free = torch.cuda.mem_get_info()[0]
    engine = CudaEngine(StyleModel.open(folder))
    flown(engine, pictures((height, width)), FRAMES)
    torch.cuda.synchronize()
    return {
        "beyond_mb": (free - torch.cuda.mem_get_info()[0]) / 1e6,
        "torch_mb": torch.cuda.memory_reserved() / 1e6,
        "torch_peak_mb": torch.cuda.max_memory_reserved() / 1e6,
    }


if __name__ == "__main__":
    print(json.dumps(_held(sys.argv[1], int(sys.argv[2]), int(sys.argv[3]))))
