"""Put the weights of a style into an engine that was built without one, so that all styles share it.

TensorRT can replace the weights of an engine ("refit"), by names of its own. They are matched when the engine is built
from random weights: no two are equal, so a value identifies its name. The table is stored in the engine's metadata. The
output is verified after each refit, see ``engines.trt.runtime.verify``.

The names hold the path of a layer's module, but cannot replace the values: in Torch-TensorRT 2.11 to 2.14 a name loses
a part of the path each time that it is asked for (``get_node_name``), and those of the canvas and of ``softening`` say
nothing.
"""

from __future__ import annotations

import copy
from collections.abc import Mapping
from typing import Any

import torch
from torch import Tensor

from engines.errors import EngineError
from engines.model.cells import CELL_IN, margins
from engines.model.generator import Arch, Generator

CANVAS = "canvas"
"""Name of the canvas, mixed and tiled over the frame: a constant for one frame size."""

CONSTANT = 256
"""Most elements of an engine's weight that is not a style's but a constant of the arithmetic."""

_NUMBERS = {name: getattr(torch, name) for name in ("float16", "float32", "int32", "int64", "bool")}


class RefitError(EngineError):
    """The weights of this engine cannot be refitted, so each style needs its own engine."""


def random_generator(arch: Arch) -> Generator:
    """Return a generator of random weights, no two of them equal."""
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(0)
        generator = Generator(arch)
        with torch.no_grad():
            for value in generator.state_dict().values():
                value.copy_(torch.randn(value.shape) * 0.05)
    return generator


def refittable_weights(generator: Generator, height: int, width: int) -> dict[str, Tensor]:
    """Return what differs between styles, by name: weights in fp16, and the canvas for a frame of this size."""
    with torch.no_grad():
        whole = [(size + sum(margins(size))) // CELL_IN for size in (height, width)]
        canvas = copy.deepcopy(generator.canvas).cpu().float()(whole[0], whole[1], (0, 0))
        weights = {name: value.cpu().half() for name, value in generator.state_dict().items()}
    return {**weights, CANVAS: canvas.half()}


def refit_table(recorded: Mapping[str, Tensor], weights: Mapping[str, Tensor]) -> dict[str, Any]:
    """Match an engine's weights with a style's, as plain JSON.

    Args:
        recorded: the engine's weights by its own names, as built.
        weights: of ``refittable_weights``, for the generator that it was built from.

    Returns:
        ``weights``: the style's name of each; ``constants``: number format and values of the others.

    Raises:
        RefitError: a large weight is unknown, or a weight of the style is missing.
    """
    names: dict[str, str] = {}
    constants: dict[str, list[Any]] = {}
    for name, value in recorded.items():
        ours = next((ours for ours, weight in weights.items() if _is(value, weight, ours)), None)
        if ours is not None:
            names[name] = ours
        elif value.numel() <= CONSTANT:
            constants[name] = [str(value.dtype).removeprefix("torch."), value.flatten().tolist()]
        else:
            raise RefitError(f"the engine has an unknown weight {name}")
    mixed = {"canvas.field", "canvas.mix.conv.weight", "canvas.mix.conv.bias"}  # they are part of the canvas
    if missing := sorted(set(weights) - set(names.values()) - mixed):
        raise RefitError(f"the engine has no weight for {', '.join(missing)}")
    return {"weights": names, "constants": constants}


def _is(value: Tensor, weight: Tensor, name: str) -> bool:
    if value.numel() != weight.numel():
        return False
    one, other = value.float().flatten(), weight.float().flatten()
    # TensorRT's lowering computes the canvas itself, on another device, and may round differently.
    return torch.allclose(one, other, atol=1e-2) if name == CANVAS else torch.equal(one, other)


def refit(trt: Any, engine: Any, logger: Any, known: Mapping[str, Any], weights: Mapping[str, Tensor]) -> None:
    """Replace the weights of a refittable engine that is not running.

    Torch-TensorRT does not record the few integers with which it computes the shapes of padding. They are not in the
    table, and stay as they were built, unless TensorRT says that it needs them.

    ``known`` is of ``refit_table``, and ``weights`` of ``refittable_weights`` for the style.
    """
    refitter = trt.Refitter(engine, logger)
    names, constants = (known.get(part) or {} for part in ("weights", "constants"))
    listed = list(refitter.get_all_weights())
    if lost := sorted(set(names) - set(listed)):
        raise RefitError(f"TensorRT does not list the weight {lost[0]}")
    kept: list[Tensor] = []  # TensorRT reads them only at the end
    for name in listed:
        if name not in names and name not in constants:
            continue
        value = _value(name, known, weights)
        kept.append(value)
        if not refitter.set_named_weights(name, trt.Weights(_format(trt, value), value.data_ptr(), value.numel())):
            raise RefitError(f"TensorRT rejects the weight {name}")
    if missing := refitter.get_missing_weights():
        raise RefitError(f"TensorRT needs further weights: {', '.join(missing[:3])}")
    if not refitter.refit_cuda_engine():
        raise RefitError("TensorRT cannot replace the weights")


def _value(name: str, known: Mapping[str, Any], weights: Mapping[str, Tensor]) -> Tensor:
    try:
        if name in known["weights"]:
            return weights[known["weights"][name]].contiguous()
        number, values = known["constants"][name]
        return torch.tensor(values, dtype=_NUMBERS[number])
    except (KeyError, TypeError, ValueError) as error:
        raise RefitError(f"the engine has an unknown weight {name}") from error


def _format(trt: Any, value: Tensor) -> Any:
    formats = {"float16": "HALF", "float32": "FLOAT", "int32": "INT32", "int64": "INT64", "bool": "BOOL"}
    return getattr(trt.DataType, formats[str(value.dtype).removeprefix("torch.")])
