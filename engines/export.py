"""Write a style: torch generator in, style folder out. Needs the ``train`` extra (torch, onnx, onnxscript).

The weights are stored once, in fp16. ``graph.onnx`` points into ``weights.safetensors`` (ONNX external data:
file, offset, length) and casts to fp32, which every runtime folds into constants when it compiles.
"""

from __future__ import annotations

import contextlib
import io
import json
import logging
import shutil
import struct
import tempfile
import warnings
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Any

import torch
from torch import Tensor

from engines.base import MAX_SIZE, MIN_SIDE
from engines.errors import EngineError, StyleError
from engines.model.generator import STRIDE, FrameGraph, Generator, fold
from engines.style_file import FORMAT, GRAPH, MANIFEST, PREVIEW, WEIGHTS, StyleMeta, StyleModel, sha256

if TYPE_CHECKING:
    import onnx

OPSET = 18
"""ONNX operator set: the first with ``Pad`` over named axes; OpenVINO, ONNX Runtime and TensorRT all read it."""

CONSTANT = 1024
"""Largest constant of the generator that is no weight, bytes: a weight of that size would be no matter either."""

_PREFIX = "generator."


def save_style(folder: str | Path, generator: Generator, meta: StyleMeta, preview: bytes | None = None) -> StyleModel:
    """Fold, round to fp16, export and write a style, all or nothing.

    Args:
        folder: where it goes; a style that is there already is replaced, anything else is left alone.
        generator: trained, with or without normalisation layers; not changed.
        meta: what the style is.
        preview: a JPEG file's bytes.

    Returns:
        the style, read back and verified.

    Raises:
        StyleError: the folder holds something else, cannot be written, or the weights are not finite in fp16.
        EngineError: the ``train`` extra is missing.
    """
    folder = Path(folder)
    if folder.exists() and not (folder / MANIFEST).is_file():
        raise StyleError(f"{folder} exists and is no style", hint="choose another folder")
    plain = rounded(fold(generator))
    try:
        folder.parent.mkdir(parents=True, exist_ok=True)
        draft = Path(tempfile.mkdtemp(prefix=f".{folder.name}-", dir=folder.parent))
        try:
            _write(draft, plain, meta, preview)
            _replace(folder, draft)
        finally:
            shutil.rmtree(draft, ignore_errors=True)
    except OSError as error:
        raise StyleError(f"cannot write {folder}: {error.strerror or error}") from error
    return StyleModel.open(folder)


def rounded(generator: Generator) -> Generator:
    """The generator that the stored style will be: its weights rounded to fp16 values, in place, kept as fp32.

    Raises:
        StyleError: a weight is not finite in fp16.
    """
    with torch.no_grad():
        for name, value in generator.state_dict().items():
            half = value.half()
            if not bool(torch.isfinite(half).all()):
                raise StyleError(f"{name} is not finite in fp16", hint="the training diverged; lower the learning rate")
            value.copy_(half)
    return generator


def _write(draft: Path, generator: Generator, meta: StyleMeta, preview: bytes | None) -> None:
    """All files of a style into an empty folder; ``style.json``, which vouches for the others, last."""
    from safetensors.torch import save_file

    draft.chmod(0o755)
    tensors = {name: value.half().contiguous() for name, value in generator.state_dict().items()}
    save_file(tensors, draft / WEIGHTS)
    (draft / WEIGHTS).chmod(0o644)  # safetensors makes it private; a style is for everybody
    model = _onnx(generator)
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


def _replace(folder: Path, draft: Path) -> None:
    """Put ``draft`` where ``folder`` is; on failure the old style is put back."""
    if not folder.exists():
        draft.rename(folder)
        return
    aside = Path(tempfile.mkdtemp(prefix=f".{folder.name}-old-", dir=folder.parent))
    old = aside / folder.name
    try:
        folder.rename(old)
        draft.rename(folder)
    except OSError:
        if old.exists():
            old.rename(folder)  # where even this fails, the old style stays aside and is not deleted
        aside.rmdir()
        raise
    shutil.rmtree(aside, ignore_errors=True)


def _onnx(generator: Generator) -> onnx.ModelProto:
    """The frame graph in ONNX with its weights inside, free height and width, and no trace of where it was made."""
    try:
        import onnxscript  # noqa: F401  # torch's exporter needs it and says so less clearly
    except ImportError as error:
        raise EngineError("saving a style needs onnx and onnxscript", hint='pip install "rtstyle[train]"') from error
    # Two different multiples of STRIDE: from other sizes the exporter cannot derive the padded ones.
    example = (torch.zeros(1, 8 * STRIDE, 9 * STRIDE, 3, dtype=torch.uint8), torch.ones(1))
    height = torch.export.Dim("height", min=MIN_SIDE, max=MAX_SIZE[1])
    width = torch.export.Dim("width", min=MIN_SIDE, max=MAX_SIZE[1])
    with _quiet(), torch.no_grad():
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
    return model


@contextlib.contextmanager
def _quiet() -> Iterator[None]:
    """Keep the exporter's progress lines, and its own deprecation warnings, off the terminal."""
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
    """Drop what nobody runs: stack traces with the author's paths, and inferred shapes. 80 KB become 10."""
    graph = model.graph
    model.producer_name, model.producer_version = "rtstyle", str(FORMAT)
    for part in (model, graph, *graph.node, *graph.input, *graph.output, *graph.initializer):
        part.ClearField("metadata_props")
        part.ClearField("doc_string")
    graph.ClearField("value_info")


def _point_into(model: onnx.ModelProto, weights: Path, tensors: Mapping[str, Tensor]) -> None:
    """Replace each weight by a reference into the safetensors file and a cast to fp32."""
    import onnx

    table = _byte_ranges(weights)
    casts = []
    for initializer in model.graph.initializer:
        name = initializer.name.removeprefix(_PREFIX)
        if name not in tensors:
            continue  # a shape or another small constant of the graph
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


def _byte_ranges(weights: Path) -> dict[str, tuple[int, int]]:
    """Offset in the file and length of each tensor, bytes.

    Source:
        the safetensors format: u64 little-endian length of a JSON header, the header, the data.
    """
    with weights.open("rb") as file:
        (header_length,) = struct.unpack("<Q", file.read(8))
        header: dict[str, Any] = json.loads(file.read(header_length))
    header.pop("__metadata__", None)
    start = 8 + header_length
    return {name: (start + entry["data_offsets"][0], _length(entry)) for name, entry in header.items()}


def _length(entry: Mapping[str, Any]) -> int:
    begin, end = entry["data_offsets"]
    return int(end - begin)


def _check_no_second_copy(model: onnx.ModelProto) -> None:
    """A weight that the exporter renamed would be stored twice, and in another precision: say so at once."""
    inline = [i.name for i in model.graph.initializer if len(i.raw_data) > CONSTANT]
    if inline:
        raise EngineError(f"the exporter renamed the weights {inline}", hint="use the tested version of torch")
