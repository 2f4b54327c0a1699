"""A frame in Triton kernels from bytes to bytes: 17 of them for the default architecture.

Apart from the convolutions, a frame's time goes into memory traffic, so the kernels are cut where a map must be
complete before its neighbours are read, and nowhere else. The weights are read where the graph has them: a change of
style needs no more than with torch's own kernels.

Imported only on demand: Triton exists for Linux and comes with torch for CUDA. It compiles each kernel on first use,
which needs a C compiler, and caches the result in ``~/.triton``. On the CPU its interpreter runs the same code slowly,
for tests (``TRITON_INTERPRET=1`` before the import).
"""

from __future__ import annotations

from subprocess import SubprocessError

import torch
from torch import Tensor
from triton.errors import TritonError

from engines.cuda.fp16 import Fp16Body, Fp16Graph
from engines.cuda.triton_contrast import contrasts
from engines.cuda.triton_convolution import Pointwise, convolve
from engines.cuda.triton_ends import first, last, make_cells
from engines.cuda.triton_twice import merge, paint
from engines.errors import EngineError
from engines.model.generator import Generator, Residual

MATRIX_UNITS = (8, 0)
"""Compute capability from which on Triton multiplies matrices on the units that are made for it. On Turing, 7.5, it has
not used them since its version 3.3: its convolutions would be many times slower than cuDNN's."""


class TritonBody(Fp16Body):
    """One frame size of a graph, computed by Triton kernels alone; see ``Fp16Body``.

    On cards before ``MATRIX_UNITS``, torch's own layers run between the first kernel and the last.

    Raises:
        EngineError: Triton cannot compile the kernels here.
    """

    def __init__(self, graph: Fp16Graph, height: int, width: int, device: torch.device) -> None:
        self._generator: Generator = graph.generator
        try:
            super().__init__(graph, height, width, device)
        except (TritonError, SubprocessError, OSError) as error:
            reason = (str(error).strip().splitlines() or [""])[0]
            raise EngineError(
                f"Triton cannot compile the kernels: {type(error).__name__}: {reason}",
                hint='the body "eager" gives the same result without it',
            ) from error

    def _once(self) -> None:
        if has_matrix_units(self.frame.device):
            change = compute_change(self._generator, self.frame)
        else:
            change = self._generator(make_cells(self.frame))
        last(self.frame, change, self._generator.softening, self.strength, self.stylized)


def has_matrix_units(device: torch.device) -> bool:
    """Return whether Triton uses the matrix units of a device; its interpreter may run anything."""
    return device.type != "cuda" or torch.cuda.get_device_capability(device) >= MATRIX_UNITS


def compute_change(network: Generator, frame: Tensor) -> Tensor:
    """Compute what ``Generator.forward`` computes from the cells of a frame.

    Args:
        network: of an ``Fp16Graph``.
        frame: (1, height, width, 3), uint8, contiguous.

    Returns:
        (1, h, w, 12), fp16.
    """
    quarter, colours = first(frame, network.stem.conv)
    fine, coarse = contrasts(colours, network.contrast_fine.floor, network.contrast_coarse.floor)
    eighth = convolve(quarter, network.down.conv, relu=True, contrast=Pointwise(coarse, network.coarse.conv))
    for number, block in enumerate(network.body, 1):
        assert isinstance(block, Residual)
        inner = convolve(eighth, block.first.conv, relu=True)
        up = network.up.conv if number == len(network.body) else None
        eighth = convolve(inner, block.second.conv, added=eighth, then=up)
    quarter = merge(quarter, eighth, Pointwise(fine, network.fine.conv), network.canvas)
    refined = convolve(quarter, network.mid.conv, relu=True, then=network.refine.conv)
    return paint(refined, network.head.conv)
