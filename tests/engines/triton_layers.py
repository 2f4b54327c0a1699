"""Each Triton kernel of the network beside torch in fp32, for `test_triton_layers.py`: run in Triton's interpreter."""

from __future__ import annotations

import copy
from collections.abc import Iterator

import numpy as np
import torch
import torch.nn.functional as F
from torch import Tensor, nn

from engines.cuda.fp16 import Fp16Graph
from engines.cuda.triton_contrast import contrasts
from engines.cuda.triton_convolution import Pointwise, convolve
from engines.cuda.triton_ends import first, make_cells
from engines.cuda.triton_twice import merge, paint
from engines.model.cells import CELL_IN, pad_reflect, space_to_depth
from engines.model.generator import Arch, Canvas, Generator, _twice
from engines.model.local_contrast import CONTRASTS, EDGE_COARSE, EDGE_FINE, smooth_inside
from tests.generators import unlike_identity

ARCHS = {
    "narrow": Arch(stem=8, body=16, blocks=1, head=4),
    "default": Arch(blocks=1),
    "wide": Arch(stem=80, body=48, blocks=1, head=24),
}
"""Fewer channels than a matrix product has, as many, and more than a program computes; powers of two and not."""

MAPS = [(6, 6), (7, 13), (16, 8), (9, 34)]
"""Height and width of what is convolved: less than a program's square, several, and parts of one; odd and even."""

EVEN_MAPS = [(6, 6), (10, 14), (8, 132), (22, 18), (66, 70)]
"""Of what is in two resolutions: wider than a band of the contrasts, larger than the canvas."""

CONTRAST_MAPS = [(10, 10), (12, 14), (10, 132), (22, 18), (66, 70), (10, 262)]
"""Of what contrasts are computed: the smallest has five pixels at 1/8."""

FRAMES = [(16, 16), (17, 31), (18, 27), (16, 400)]

Case = tuple[str, Tensor, Tensor]
"""Name, what Triton made, what torch makes of the same in fp32."""


def some(*shape: int, seed: int = 0) -> Tensor:
    """Values around 0 in fp16."""
    return torch.randn(shape, generator=torch.Generator().manual_seed(seed)).half()


def torch_convolve(source: Tensor, conv: nn.Conv2d) -> Tensor:
    """(height, width, in) → (height, width, out), in fp32."""
    exact = copy.deepcopy(conv).float()
    return exact(source.float().permute(2, 0, 1)[None])[0].permute(1, 2, 0)


def torch_twice(source: Tensor) -> Tensor:
    return _twice(source.float().permute(2, 0, 1)[None])[0].permute(1, 2, 0)


def planes(maps: Tensor, conv: nn.Conv2d) -> Tensor:
    return torch_convolve(maps.permute(1, 2, 0), conv)


def first_cases(network: Generator) -> Iterator[Case]:
    for height, width in FRAMES:
        random = torch.Generator().manual_seed(height)
        frame = torch.randint(0, 256, (1, height, width, 3), dtype=torch.uint8, generator=random)
        cells = space_to_depth(pad_reflect(frame), CELL_IN).half().div_(255.0)
        quarter, colours = first(frame, network.stem.conv)
        yield f"cells {height}×{width}", make_cells(frame), cells
        yield f"first {height}×{width}", quarter, F.relu(torch_convolve(cells[0], network.stem.conv))
        mean = F.conv2d(cells.permute(0, 3, 1, 2).float(), network.mean_of_cell.float())
        yield f"colours {height}×{width}", colours, mean[0]


def contrast_cases(network: Generator) -> Iterator[Case]:
    for high, wide in CONTRAST_MAPS:
        colours = torch.rand(3, high, wide, generator=torch.Generator().manual_seed(high))
        colours[:, : high // 2] = colours[:, : high // 2] * 0.02 + 0.4  # nearly plain
        fine, coarse = contrasts(colours, network.contrast_fine.floor, network.contrast_coarse.floor)
        yield f"fine {high}×{wide}", fine, network.contrast_fine(smooth_inside(colours[None], EDGE_FINE))[0]
        pooled = F.avg_pool2d(colours[None], 2)
        yield f"coarse {high}×{wide}", coarse, network.contrast_coarse(smooth_inside(pooled, EDGE_COARSE))[0]


def convolution_cases(network: Generator) -> Iterator[Case]:
    arch, residual = network.arch, network.body[0]
    for high, wide in MAPS:
        size = f"{high}×{wide}"
        eighth = some(high, wide, arch.body)
        made = convolve(eighth, residual.first.conv, relu=True)
        yield f"edge {size}", made, F.relu(torch_convolve(eighth, residual.first.conv))
        sums = eighth.float() + torch_convolve(made, residual.second.conv)
        yield f"added {size}", convolve(made, residual.second.conv, added=eighth), sums
        then = convolve(made, residual.second.conv, added=eighth, then=network.up.conv)
        yield f"then {size}", then, torch_convolve(sums.half(), network.up.conv)
        quarter = some(high, wide, arch.stem)
        mid = F.relu(torch_convolve(quarter, network.mid.conv))
        yield f"no edge {size}", convolve(quarter, network.mid.conv, relu=True), mid
        yield f"1×1 {size}", convolve(quarter, network.refine.conv), torch_convolve(quarter, network.refine.conv)
        wide_map, coarse = some(2 * high, 2 * wide, arch.stem), some(CONTRASTS, high, wide)
        halved = convolve(wide_map, network.down.conv, relu=True, contrast=Pointwise(coarse, network.coarse.conv))
        both = torch_convolve(wide_map, network.down.conv) + planes(coarse, network.coarse.conv)
        yield f"halved {size}", halved, F.relu(both)


def twice_cases(network: Generator) -> Iterator[Case]:
    arch = network.arch
    canvas: Canvas = copy.deepcopy(network.canvas).float()
    for high, wide in EVEN_MAPS:
        quarter, eighth = some(high, wide, arch.stem), some(high // 2, wide // 2, arch.stem, seed=1)
        fine = some(CONTRASTS, high, wide)
        sums = quarter.float() + torch_twice(eighth) + planes(fine, network.fine.conv)
        sums += canvas(high, wide, (0, 0))[0].permute(1, 2, 0)
        made = merge(quarter, eighth, Pointwise(fine, network.fine.conv), network.canvas)
        yield f"merge {high}×{wide}", made, F.relu(sums)
    for high, wide in MAPS:
        refined = some(high, wide, arch.head)
        half = F.relu(torch_twice(refined)).half()
        yield f"paint {high}×{wide}", paint(refined, network.head.conv)[0], torch_convolve(half, network.head.conv)


def main(target: str) -> None:
    """Save what Triton and torch make, by case, and what Triton makes of the default once more."""
    made: dict[str, Tensor] = {}
    for name, arch in ARCHS.items():
        torch.manual_seed(0)
        network = Fp16Graph(unlike_identity(Generator(arch)), torch.device("cpu")).generator
        with torch.no_grad():
            for make in (first_cases, convolution_cases, twice_cases):
                for case, actual, expected in make(network):
                    made |= {f"{name}, {case}, actual": actual, f"{name}, {case}, expected": expected}
            if name == "default":
                for case, actual, expected in contrast_cases(network):  # the same for all
                    made |= {f"{name}, {case}, actual": actual, f"{name}, {case}, expected": expected}
                for make in (first_cases, contrast_cases, convolution_cases, twice_cases):
                    made |= {f"{name}, {case}, again": again for case, again, _ in make(network)}
    np.savez(target, **{name: value.numpy() for name, value in made.items()})
