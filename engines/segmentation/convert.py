"""Convert MediaPipe's selfie segmentation to OpenVINO, once; ``person/`` holds the result.

    npm pack @mediapipe/selfie_segmentation@0.1.1675465747
    python -m engines.segmentation.convert mediapipe-selfie_segmentation-0.1.1675465747.tgz

Same archive and same OpenVINO, same files. OpenVINO reads TFLite, but for one operation of MediaPipe's own, a
transposed convolution with a bias. The graphs take frames as they are, uint8, and store weights in fp16.
"""

from __future__ import annotations

import base64
import hashlib
import json
import sys
import tarfile
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import TYPE_CHECKING, Any
from xml.etree import ElementTree as ET

from engines.errors import StyleError
from engines.openvino.engine import import_openvino
from engines.segmentation.person_network import FOLDER, MANIFEST, SHAPES
from engines.style_file import sha256

if TYPE_CHECKING:
    import openvino as ov

PACKAGE, VERSION = "@mediapipe/selfie_segmentation", "0.1.1675465747"
INTEGRITY = "IxYxNhwE5VwOm52L1yoFWYLP7q9Pd+NJjzOC5tlepfvEGaY3o9hslhUrx9BgseqdfZtKSDtd/4NfCSMjNzQalA=="
"""SHA-512 of the archive, as the registry states it."""

TFLITE = {"wide": "selfie_segmentation_landscape.tflite", "square": "selfie_segmentation.tflite"}
"""File in the archive of each of ``SHAPES``."""


def convert(archive: Path, folder: Path) -> None:
    """Write the networks of an archive from npm into a folder, with a manifest of their sha256.

    Raises:
        StyleError: it is another archive.
    """
    found = base64.b64encode(hashlib.sha512(archive.read_bytes()).digest()).decode()
    if found != INTEGRITY:
        raise StyleError(f"{archive} is not {PACKAGE} {VERSION}", hint=f"npm pack {PACKAGE}@{VERSION}")
    openvino = import_openvino()
    files = []
    with TemporaryDirectory() as scratch, tarfile.open(archive) as tar:
        for shape, name in TFLITE.items():
            tar.extract(f"package/{name}", scratch, filter="data")
            graph = _with_frame_input(_read_tflite(Path(scratch) / "package" / name))
            path = folder / f"{shape}.xml"
            openvino.save_model(graph, path, compress_to_fp16=True)
            _shorten(path)
            files += [path, path.with_suffix(".bin")]
    manifest = {
        "source": f"https://registry.npmjs.org/{PACKAGE}/-/selfie_segmentation-{VERSION}.tgz",
        "licence": "Apache-2.0",
        "openvino": openvino.__version__,
        "files": {path.name: sha256(path) for path in files},
    }
    (folder / MANIFEST).write_text(json.dumps(manifest, indent=1) + "\n", encoding="utf-8")


def _read_tflite(path: Path) -> ov.Model:
    from openvino.frontend import ConversionExtension, FrontEndManager

    frontend = FrontEndManager().load_by_framework("tflite")
    frontend.add_extension(ConversionExtension("Convolution2DTransposeBias", _transposed_convolution))
    return frontend.convert(frontend.load(str(path)))


def _transposed_convolution(node: Any) -> list[Any]:
    """Convert MediaPipe's operation. Its kernels are as large as its stride, so that no two outputs overlap.

    Inputs: (1, H, W, in), kernel (out, h, w, in), bias (out,). Output: (1, h · H, w · W, out).
    """
    from openvino import opset13 as ops

    values, kernel, bias = (node.get_input(index) for index in range(3))
    stride = list(kernel.get_shape())[1:3]
    upsampled = ops.convolution_backprop_data(
        ops.transpose(values, ops.constant([0, 3, 1, 2])), ops.transpose(kernel, ops.constant([3, 0, 1, 2])), stride
    )
    return [ops.add(ops.transpose(upsampled, ops.constant([0, 2, 3, 1])), bias).output(0)]


def _with_frame_input(graph: ov.Model) -> ov.Model:
    """Let a graph take (1, H, W, 3) uint8 instead of floats from 0 to 1."""
    from openvino import Type
    from openvino.preprocess import PrePostProcessor

    steps = PrePostProcessor(graph)
    steps.input().tensor().set_element_type(Type.u8)
    steps.input().preprocess().convert_element_type(Type.f32).scale(255.0)
    return steps.build()


def _shorten(path: Path) -> None:
    """Remove the white space of a graph's XML, and notes on where its operations come from: a quarter remains."""
    tree = ET.parse(path)  # noqa: S314  # written a moment ago
    for element in tree.iter():
        element.text, element.tail = (text and text.strip() for text in (element.text, element.tail))
        for note in element.findall("rt_info"):
            element.remove(note)
    tree.write(path, encoding="utf-8", xml_declaration=True)


if __name__ == "__main__":
    assert set(TFLITE) == set(SHAPES)
    convert(Path(sys.argv[1]), FOLDER)
