"""A style with more or less of its texture, the pattern that its network paints over everything.

The canvas of a generator (``engines.model.generator.Canvas``) is a fixed field, mixed linearly into the network. So its
contrast is a factor in two weights, around an unchanged mean: any share of it takes no time per frame, needs no other
graph, and works on every engine.

Which share is best differs from painting to painting: of what recipe ``fast`` or ``quick`` had learned, blind judges
preferred 0.3 to all of it for a woodcut (20 : 0) and a cubist portrait (19 : 1), and all of it for two oils with
visible brushwork (12 : 4, 11 : 8), see benchmarks/candidates. Hence people choose.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import replace
from typing import Any

import numpy as np
import numpy.typing as npt

from engines.base import check_share
from engines.mixing.mixed_style import MixedStyle, with_weights
from engines.style_file import StyleModel

FIELD, WEIGHT, BIAS = "canvas.field", "canvas.mix.conv.weight", "canvas.mix.conv.bias"
"""Names of the weights of the canvas."""


def with_texture(style: StyleModel, share: float) -> MixedStyle:
    """Return a style with a share of its trained texture.

    Args:
        style: one that has none, by its training or since none was kept, stays as it is.
        share: 0 for none … 1 for all that was trained, whatever the style has by itself.

    Raises:
        ShapeError: the share is out of range.
    """
    check_share("texture", share)
    if not style.texture:
        return with_weights(style, style.tensors())
    tensors, settings = style.tensors(), _table(style.training, "settings")
    settings["generator"] = {**_table(settings, "generator"), "canvas": share}
    weights = {**tensors, **_scaled(tensors, share / style.texture)}
    title = f"{style.title} (texture {100 * share:.0f} %)"
    return replace(with_weights(style, weights), title=title, training={**style.training, "settings": settings})


def _table(record: Mapping[str, Any], name: str) -> dict[str, Any]:
    """Return a copy of a table in a training record, which anybody may have written."""
    table = record.get(name)
    return dict(table) if isinstance(table, Mapping) else {}


def _scaled(weights: Mapping[str, npt.NDArray[np.floating]], factor: float) -> dict[str, npt.NDArray[np.float16]]:
    field, weight, bias = (weights[name].astype(np.float32) for name in (FIELD, WEIGHT, BIAS))
    mean = weight[:, :, 0, 0] @ field.mean((0, 2, 3))
    return {WEIGHT: (factor * weight).astype(np.float16), BIAS: (bias + (1.0 - factor) * mean).astype(np.float16)}
