"""Weights of a style in an engine that was built without one, so that all styles share it.

TensorRT can exchange the weights of an engine ("refit"), under names of its own. Which is which is found out when the
engine is built, from random weights: no two of them are alike, so a value tells its name. The table is kept beside the
engine. Whether an exchange gives the right picture is never taken for granted, see ``engines.trt.builder``.
"""

from __future__ import annotations

import copy
from collections.abc import Mapping
from typing import Any

import torch
from torch import Tensor

from engines.errors import EngineError
from engines.model.generator import CELL_IN, Arch, Generator, margins

CANVAS = "canvas"
"""Name of the canvas, mixed and laid out over the frame: for one frame size it is a constant."""

CONSTANT = 256
"""Largest weight of an engine, in numbers, that is no style's but a constant of the arithmetic."""

_NUMBERS = {name: getattr(torch, name) for name in ("float16", "float32", "int32", "int64", "bool")}


class RefitError(EngineError):
    """The weights of this engine cannot be exchanged. Each style needs one of its own."""


def random_generator(arch: Arch) -> Generator:
    """A generator of no style. No two of its weights are alike."""
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(0)
        generator = Generator(arch)
        with torch.no_grad():
            for value in generator.state_dict().values():
                value.copy_(torch.randn(value.shape) * 0.05)
    return generator


def exchangeable(generator: Generator, height: int, width: int) -> dict[str, Tensor]:
    """All that differs between two styles, by name: the weights in fp16, and the canvas for a frame of this size."""
    with torch.no_grad():
        whole = [(size + sum(margins(size))) // CELL_IN for size in (height, width)]
        canvas = copy.deepcopy(generator.canvas).cpu().float()(whole[0], whole[1], (0, 0))
        weights = {name: value.cpu().half() for name, value in generator.state_dict().items()}
    return {**weights, CANVAS: canvas.half()}


def table(recorded: Mapping[str, Tensor], weights: Mapping[str, Tensor]) -> dict[str, Any]:
    """What each weight of an engine is, as plain JSON.

    Args:
        recorded: the engine's weights by its own names, as they were built.
        weights: of ``exchangeable``, for the generator that it was built from.

    Returns:
        ``weights``, the style's name of each; ``constants``, number format and values of the others.

    Raises:
        RefitError: a large weight is none that we know, or one of ours is not there.
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
            raise RefitError(f"nobody knows what the weight {name} is")
    mixed = {"canvas.field", "canvas.mix.conv.weight", "canvas.mix.conv.bias"}  # they are in the canvas
    if missing := sorted(set(weights) - set(names.values()) - mixed):
        raise RefitError(f"the engine has no weight for {', '.join(missing)}")
    return {"weights": names, "constants": constants}


def _is(value: Tensor, weight: Tensor, name: str) -> bool:
    if value.numel() != weight.numel():
        return False
    one, other = value.float().flatten(), weight.float().flatten()
    # What TensorRT's lowering computed itself, on another device, may be rounded otherwise.
    return torch.allclose(one, other, atol=1e-2) if name == CANVAS else torch.equal(one, other)


def refit(trt: Any, engine: Any, logger: Any, known: Mapping[str, Any], weights: Mapping[str, Tensor]) -> None:
    """Exchange the weights of an engine that nobody is running.

    Args:
        trt: the TensorRT module.
        engine: built to be refitted.
        logger: TensorRT's.
        known: of ``table``.
        weights: of ``exchangeable``, for the style.

    Raises:
        RefitError: the engine does not let itself be refitted in full.
    """
    refitter = trt.Refitter(engine, logger)
    kept: list[Tensor] = []  # TensorRT reads them only at the end
    for name in refitter.get_all_weights():
        value = _value(name, known, weights)
        kept.append(value)
        if not refitter.set_named_weights(name, trt.Weights(_format(trt, value), value.data_ptr(), value.numel())):
            raise RefitError(f"TensorRT does not take the weight {name}")
    if missing := refitter.get_missing_weights():
        raise RefitError(f"TensorRT wants further weights: {', '.join(missing[:3])}")
    if not refitter.refit_cuda_engine():
        raise RefitError("TensorRT does not exchange the weights")


def _value(name: str, known: Mapping[str, Any], weights: Mapping[str, Tensor]) -> Tensor:
    try:
        if name in known["weights"]:
            return weights[known["weights"][name]].contiguous()
        number, values = known["constants"][name]
        return torch.tensor(values, dtype=_NUMBERS[number])
    except (KeyError, TypeError, ValueError) as error:
        raise RefitError(f"nobody knows what the weight {name} is") from error


def _format(trt: Any, value: Tensor) -> Any:
    formats = {"float16": "HALF", "float32": "FLOAT", "int32": "INT32", "int64": "INT64", "bool": "BOOL"}
    return getattr(trt.DataType, formats[str(value.dtype).removeprefix("torch.")])
