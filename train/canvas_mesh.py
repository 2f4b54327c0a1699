"""Take the mesh out of a canvas: what stands out in it at the size of the network's cells.

``Generator.even_out`` makes the pixels of a cell agree where the hidden map is flat. A canvas is not flat: its strokes
pass through rectifiers at 1/4 and 1/2 of the resolution, and what they leave at periods of two and four pixels adds up
to lines of a spectrum, on plain walls a fine weave. They go when the canvas changes by up to a tenth of its deviation.
"""

from __future__ import annotations

import math

import torch
from torch import Tensor

from engines.model.cells import CELL_IN, CELL_OUT, depth_to_space
from engines.model.generator import CANVAS, Generator
from engines.model.local_contrast import LUMINANCE

PEAK = 1.1
"""Power at a frequency of the cells, by that of its neighbours, above which a canvas is changed; a blank one has 1."""

TARGET = 0.5
"""What it is taken down to: with other colours and with noise a little more stands out, and in a window whose side is
no multiple of the canvas, all its lines stand 1.7 times above the gaps between them."""

SIDE = CANVAS * CELL_IN
"""Side of the painted canvas, pixels: without a border, its spectrum needs no window."""

SEEN = 96
"""Side of the plain pictures that are looked at, in cells: their middle sees no border."""

MARGIN, BORDER = 4, 2
"""Cells that are painted beyond one period, and pixels that are cut from the side of what is left."""

NEIGHBOURS = range(1, 6)
"""Which neighbours, in lines of the canvas' spectrum."""

FLOOR = 0.25 / 255
"""What nobody sees, as the standard deviation of white noise; it is added to both powers."""

SHADES, BATCH, STEPS, RATE, SEED = 64, 4, 300, 0.005, 1
"""Number of plain colours, those of one step, steps, and the first learning rate, by the canvas' standard deviation."""

FIDELITY = 0.02 * 255**2
"""Weight of the mean square of what changes, against ratios of powers."""


def remove_mesh(plain: Generator, share: float = 1.0) -> float:
    """Change the canvas so that no frequency of the cells stands out, with any share of it that somebody may choose.

    Args:
        plain: folded generator; its canvas is changed in place.
        share: of the trained contrast that the canvas has now, 0 … 1; see ``Canvas.weaken``.

    Returns:
        the highest peak before: where it is at most ``PEAK``, nothing changes.

    Source:
        on such frequencies: Odena et al. 2016, "Deconvolution and Checkerboard Artifacts", doi:10.23915/distill.00003.
    """
    if not share:
        return 0.0
    chance = torch.Generator().manual_seed(SEED)
    grey = torch.linspace(0, 1, SHADES)[:, None]
    shades = (grey + 0.15 * torch.randn(SHADES, 3, generator=chance)).clamp(0, 1).to(plain.canvas.field)
    walls = Walls(plain, shades)
    with torch.no_grad():
        highest = max(walls.highest_peak(wanted / share) for wanted in (share, 1.0))
    if not highest > PEAK:  # nor where a weight is not finite, which is told when the style is saved
        return highest
    field = plain.canvas.field
    trained = field.detach().clone()
    optimizer = torch.optim.Adam([field], lr=1.0)
    rate = RATE * float(trained.std())
    for step in range(STEPS):
        optimizer.param_groups[0]["lr"] = rate * math.cos(math.pi / 2 * step / STEPS)
        chosen = torch.randperm(SHADES, generator=chance)[:BATCH]
        # Half of the steps with the style's own share of its texture, the others with any.
        factor = 1.0 if step % 2 else float(torch.rand((), generator=chance)) / share
        painted = walls.paint(chosen, factor)
        with torch.no_grad():
            before = walls.paint(chosen, factor, trained)
        excess = (peaks(painted.clamp(0.0, 1.0)) - TARGET).clamp_min(0).square().mean()
        loss = excess + FIDELITY * (painted - before).square().mean()
        (field.grad,) = torch.autograd.grad(loss, field)
        optimizer.step()
    field.grad = None
    return highest


def peaks(painted: Tensor) -> Tensor:
    """Return the power at each frequency of the cells by that of its neighbours.

    Args:
        painted: the canvas on plain colours, (N, 3, SIDE, SIDE), about in [0, 1].

    Returns:
        (N, 4): along y at 1/2 and 1/4 of a cycle per pixel, then along x.
    """
    light = torch.tensordot(painted, torch.tensor(LUMINANCE).to(painted), dims=([1], [0]))
    power = torch.fft.fft2(light).abs().square() / SIDE**2
    found = []
    for axis in (2, 1):
        along = power.mean(axis) + FLOOR**2
        for cell in (CELL_OUT, CELL_IN):
            at = SIDE // cell
            near = [along[:, (at + side * step) % SIDE] for step in NEIGHBOURS for side in (-1, 1)]
            found.append(along[:, at] / torch.stack(near).mean(0))
    return torch.stack(found, 1)


class Walls:
    """Plain colours, (N, 3), on which a canvas is painted."""

    def __init__(self, plain: Generator, shades: Tensor):
        self.plain, self.shades = plain, shades[:, :, None, None]
        self.seen = torch.cat([self._look(shade) for shade in torch.split(self.shades, 1)])

    def highest_peak(self, factor: float) -> float:
        """Return the highest peak on any of the colours."""
        return float(peaks(self.paint(slice(None), factor).clamp(0.0, 1.0)).max())

    def paint(self, which: Tensor | slice, factor: float = 1.0, field: Tensor | None = None) -> Tensor:
        """Return one period of the canvas on some of the colours.

        Args:
            which: of the N colours.
            factor: of the canvas' contrast.
            field: instead of the canvas' own.

        Returns:
            (N, 3, SIDE, SIDE), not clamped.
        """
        field = self.plain.canvas.field if field is None else field
        mean = field.mean((2, 3), keepdim=True)
        canvas = self.plain.canvas.mix(mean + factor * (field - mean))
        canvas = torch.cat([canvas, canvas[:, :, :MARGIN]], 2)
        canvas = torch.cat([canvas, canvas[..., :MARGIN]], 3)
        change = self.plain.paint(self.seen[which] + canvas)
        pixels = depth_to_space(change.permute(0, 2, 3, 1), CELL_OUT).permute(0, 3, 1, 2)
        return self.shades[which] + pixels[..., BORDER : SIDE + BORDER, BORDER : SIDE + BORDER]

    @torch.no_grad()
    def _look(self, shade: Tensor) -> Tensor:
        quarter, eighth, fine = self.plain.look(shade.repeat(1, CELL_IN**2, SEEN, SEEN))
        return _middle(quarter) + _middle(self.plain.up(eighth)) + _middle(self.plain.fine(fine))


def _middle(x: Tensor) -> Tensor:
    """Return the middle of a map, (N, C, 1, 1)."""
    return x[:, :, x.shape[2] // 2, x.shape[3] // 2, None, None]
