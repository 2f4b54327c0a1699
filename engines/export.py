"""Export a trained generator as a style folder. Needs the ``train`` extra (torch, onnx, onnxscript).

The weights are stored once, in fp16. ``graph.onnx`` points into ``weights.safetensors`` (ONNX external data:
file, offset, length) and casts to fp32, which every runtime folds into constants when it compiles.
"""

from __future__ import annotations

import contextlib
import functools
import io
import json
import logging
import struct
import warnings
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Any

import torch
from torch import Tensor

from engines.atomic_write import atomic_folder
from engines.base import MAX_SIZE, MIN_SIDE
from engines.errors import EngineError, StyleError
from engines.install_hint import pip_install
from engines.model.cells import STRIDE
from engines.model.generator import Arch, FrameGraph, Generator, fold
from engines.os_errors import advice, reason
from engines.style_card import CARD, model_card, weights_metadata
from engines.style_file import FORMAT, GRAPH, MANIFEST, PREVIEW, WEIGHTS, StyleMeta, StyleModel, sha256

if TYPE_CHECKING:
    import onnx

OPSET = 18
"""ONNX operator set: the first with ``Pad`` over named axes; OpenVINO, ONNX Runtime and TensorRT read it."""

MAX_CONSTANT = 1024
"""Largest constant, in bytes, that may be stored inline; the graph's own constants, such as shapes, are smaller."""

HEADER_BLOCK = 4096
"""The tensors start at a multiple of this many bytes, so that graphs are equal whatever the metadata says."""

_PREFIX = "generator."


def save_style(folder: str | Path, generator: Generator, meta: StyleMeta, preview: bytes | None = None) -> StyleModel:
    """Fold the normalisation, round to fp16, export, write and verify a style; the folder is complete or absent.

    Args:
        folder: the target; an existing style is replaced, anything else is an error.
        generator: a trained generator, with or without normalisation layers; not changed.
        meta: description of the style.
        preview: the bytes of a JPEG file.

    Raises:
        StyleError: the folder contains something else or cannot be written, or a weight is not finite in fp16.
        EngineError: the ``train`` extra is missing.
    """
    folder = Path(folder)
    if folder.exists() and not (folder / MANIFEST).is_file():
        raise StyleError(f"{folder} exists and is not a style", hint="choose another folder")
    plain = rounded(fold(generator))
    try:
        with atomic_folder(folder) as draft:
            _write(draft, plain, meta, preview)
    except OSError as error:
        raise StyleError(f"cannot write {folder}: {reason(error)}", hint=advice(error)) from error
    return StyleModel.open(folder)


def rounded(generator: Generator) -> Generator:
    """Round the weights of a folded generator to fp16 values, in place, kept as fp32; return the generator.

    This is what the stored style computes. Raise StyleError if a weight is not finite in fp16.
    """
    with torch.no_grad():
        for name, value in generator.state_dict().items():
            half = value.half()
            if not bool(torch.isfinite(half).all()):
                raise StyleError(f"{name} is not finite in fp16", hint="the training diverged; lower the learning rate")
            value.copy_(half)
    return generator


def _write(draft: Path, generator: Generator, meta: StyleMeta, preview: bytes | None) -> None:
    """Write all files of a style; ``style.json`` follows those whose hashes it holds."""
    from safetensors.torch import save

    draft.chmod(0o755)
    tensors = {name: value.half().contiguous() for name, value in generator.state_dict().items()}
    (draft / WEIGHTS).write_bytes(_with_metadata(save(tensors), weights_metadata(meta)))
    model = _onnx(generator.arch)
    _point_into(model, draft / WEIGHTS, tensors)
    (draft / GRAPH).write_bytes(model.SerializeToString(deterministic=True))
    if preview is not None:
        (draft / PREVIEW).write_bytes(preview)
    manifest = {
        "format": FORMAT,
        "name": meta.name,
        "title": meta.title,
        "painter": meta.painter,
        "work": meta.work,
        "licence": meta.licence,
        "arch": generator.arch.to_dict(),
        "files": {path.name: sha256(path) for path in sorted(draft.iterdir())},
        "training": dict(meta.training),
    }
    text = json.dumps(manifest, indent=2, ensure_ascii=False, allow_nan=False)
    (draft / MANIFEST).write_text(text + "\n", encoding="utf-8")
    (draft / CARD).write_text(model_card(meta, preview=preview is not None), encoding="utf-8")


def _with_metadata(weights: bytes, metadata: Mapping[str, str]) -> bytes:
    """Return a safetensors file with ``__metadata__``, whose entries the library would write in a random order."""
    length, header = _header(weights)
    text = json.dumps({"__metadata__": metadata, **header}, separators=(",", ":"), ensure_ascii=False).encode()
    padded = -(-(8 + len(text)) // HEADER_BLOCK) * HEADER_BLOCK - 8
    return struct.pack("<Q", padded) + text.ljust(padded) + weights[8 + length :]


def check_exporter() -> None:
    """Raise EngineError unless the packages that write a graph are there."""
    try:
        import onnx  # noqa: F401
        import onnxscript  # noqa: F401  # torch's exporter needs it; its own error is less clear
    except ImportError as error:
        raise EngineError("saving a style needs onnx and onnxscript", hint=pip_install("train")) from error


def _onnx(arch: Arch) -> onnx.ModelProto:
    """Return the frame graph of an architecture, which is the same for all its styles: the weights are replaced."""
    check_exporter()
    import onnx

    model: onnx.ModelProto = onnx.ModelProto.FromString(_exported(arch))
    return model


@functools.cache
def _exported(arch: Arch) -> bytes:
    """Export the graph once in a process, which takes seconds: with free height and width, and no build paths."""
    # Two different multiples of STRIDE: from other sizes the exporter cannot derive the padded sizes.
    example = (torch.zeros(1, 8 * STRIDE, 9 * STRIDE, 3, dtype=torch.uint8), torch.ones(1))
    height = torch.export.Dim("height", min=MIN_SIDE, max=MAX_SIZE[1])
    width = torch.export.Dim("width", min=MIN_SIDE, max=MAX_SIZE[1])
    with _quiet(), torch.no_grad(), torch.random.fork_rng(devices=[]):  # nobody else's random numbers are used up
        generator = Generator(arch)
        for weight in generator.parameters():  # of zeros the exporter would make a constant
            weight.normal_()
        program = torch.onnx.export(
            FrameGraph(generator).eval(),
            example,
            dynamo=True,
            verbose=False,
            input_names=["frame", "strength"],
            output_names=["painting"],
            dynamic_shapes=({1: height, 2: width}, None),
            opset_version=OPSET,
        )
    assert program is not None  # dynamo=True always returns one
    model: onnx.ModelProto = program.model_proto
    _forget_origin(model)
    return bytes(model.SerializeToString())


@contextlib.contextmanager
def _quiet() -> Iterator[None]:
    """Silence the exporter's progress lines and deprecation warnings."""
    logger = logging.getLogger("torch.onnx")
    level = logger.level
    logger.setLevel(logging.ERROR)
    try:
        with warnings.catch_warnings(), contextlib.redirect_stdout(io.StringIO()):
            warnings.simplefilter("ignore")
            yield
    finally:
        logger.setLevel(level)


def _forget_origin(model: onnx.ModelProto) -> None:
    """Drop stack traces with the author's paths, and inferred shapes: 80 KB become 10."""
    graph = model.graph
    model.producer_name, model.producer_version = "rtstyle", str(FORMAT)
    for part in (model, graph, *graph.node, *graph.input, *graph.output, *graph.initializer):
        part.ClearField("metadata_props")
        part.ClearField("doc_string")
    graph.ClearField("value_info")


def _point_into(model: onnx.ModelProto, weights: Path, tensors: Mapping[str, Tensor]) -> None:
    """Replace each weight with a reference into the safetensors file and a cast to fp32."""
    import onnx

    table = _byte_ranges(weights)
    casts, missing = [], set(tensors)
    for initializer in model.graph.initializer:
        name = initializer.name.removeprefix(_PREFIX)
        if name not in tensors:
            continue  # a shape or another small constant of the graph
        missing.discard(name)
        offset, length = table[name]
        cast_from = f"{name}.fp16"
        casts.append(onnx.helper.make_node("Cast", [cast_from], [initializer.name], to=onnx.TensorProto.FLOAT))
        initializer.Clear()
        initializer.name = cast_from
        initializer.data_type = onnx.TensorProto.FLOAT16
        initializer.dims.extend(tensors[name].shape)
        initializer.data_location = onnx.TensorProto.EXTERNAL
        for key, value in (("location", WEIGHTS), ("offset", str(offset)), ("length", str(length))):
            initializer.external_data.add(key=key, value=value)
    nodes = [*casts, *model.graph.node]
    del model.graph.node[:]
    model.graph.node.extend(nodes)
    _check_no_second_copy(model)
    if missing:
        raise EngineError(f"the exporter made constants of {sorted(missing)}", hint="use the tested version of torch")


def _byte_ranges(weights: Path) -> dict[str, tuple[int, int]]:
    """Return the offset in the file and the length of each tensor, in bytes."""
    length, header = _header(weights.read_bytes())
    header.pop("__metadata__", None)
    start = 8 + length
    offsets = {name: entry["data_offsets"] for name, entry in header.items()}
    return {name: (start + begin, end - begin) for name, (begin, end) in offsets.items()}


def _header(weights: bytes) -> tuple[int, dict[str, Any]]:
    """Return the length and the content of a safetensors header, which a little-endian u64 with the length precedes."""
    (length,) = struct.unpack_from("<Q", weights)
    return length, json.loads(weights[8 : 8 + length])


def _check_no_second_copy(model: onnx.ModelProto) -> None:
    """Raise if the exporter renamed a weight, which would then be stored twice, and in fp32."""
    inline = [i.name for i in model.graph.initializer if len(i.raw_data) > MAX_CONSTANT]
    if inline:
        raise EngineError(f"the exporter renamed the weights {inline}", hint="use the tested version of torch")
