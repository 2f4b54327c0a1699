"""Convert networks of MediaPipe to OpenVINO, once; ``person/`` and ``face/`` hold the results.

    npm pack @mediapipe/selfie_segmentation@0.1.1675465747 @mediapipe/face_detection@0.4.1657300184
    python -m engines.vision.convert mediapipe-*.tgz

Same archives and same OpenVINO, same files. OpenVINO reads TFLite, but for one operation of MediaPipe's own, a
transposed convolution with a bias. The graphs take frames as they are, uint8, and store weights in fp16.
"""

from __future__ import annotations

import base64
import hashlib
import json
import sys
import tarfile
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import TYPE_CHECKING, Any
from xml.etree import ElementTree as ET

from engines.errors import StyleError
from engines.openvino.runtime import import_openvino
from engines.style_file import sha256
from engines.vision import face_network, person_network
from engines.vision.converted import MANIFEST

if TYPE_CHECKING:
    import openvino as ov


@dataclass(frozen=True)
class Archive:
    """A package of npm.

    Attributes:
        package, version: as npm knows them.
        integrity: SHA-512 of the archive, in base 64, as npm states it.
        networks: name of each converted network, and the file in the archive that it comes from.
        mean, scale: what a pixel is reduced and divided by before the network sees it.
        folder: of the converted networks.
    """

    package: str
    version: str
    integrity: str
    networks: Mapping[str, str]
    mean: float
    scale: float
    folder: Path


PEOPLE = Archive(
    "@mediapipe/selfie_segmentation",
    "0.1.1675465747",
    "IxYxNhwE5VwOm52L1yoFWYLP7q9Pd+NJjzOC5tlepfvEGaY3o9hslhUrx9BgseqdfZtKSDtd/4NfCSMjNzQalA==",
    {"wide": "selfie_segmentation_landscape.tflite", "square": "selfie_segmentation.tflite"},
    0.0,
    255.0,
    person_network.FOLDER,
)

FACES = Archive(
    "@mediapipe/face_detection",
    "0.4.1657300184",
    "k5aYtTf7av7GwD3C9T4LJB/okHK/uJwFQSOmJ9OHZMlwg7SdYVMolRgDlA962OU7fIBKsrOA7f7BzD2gpzcAKw==",
    {face_network.NAME: "face_detection_full_range.tflite"},
    127.5,
    127.5,
    face_network.FOLDER,
)


def convert(file: Path) -> None:
    """Write the networks of an archive into their folder, with a manifest of their sha256.

    Raises:
        StyleError: it is another archive.
    """
    found = base64.b64encode(hashlib.sha512(file.read_bytes()).digest()).decode()
    archive = next((known for known in (PEOPLE, FACES) if known.integrity == found), None)
    if archive is None:
        known = " or ".join(f"{one.package}@{one.version}" for one in (PEOPLE, FACES))
        raise StyleError(f"{file} is neither {known}", hint=f"npm pack {PEOPLE.package}@{PEOPLE.version}")
    openvino = import_openvino()
    files = []
    with TemporaryDirectory() as scratch, tarfile.open(file) as tar:
        for name, tflite in archive.networks.items():
            tar.extract(f"package/{tflite}", scratch, filter="data")
            graph = _with_frame_input(_read_tflite(Path(scratch) / "package" / tflite), archive)
            path = archive.folder / f"{name}.xml"
            openvino.save_model(graph, path, compress_to_fp16=True)
            _shorten(path)
            files += [path, path.with_suffix(".bin")]
    manifest = {
        "source": f"npm {archive.package}@{archive.version}",
        "licence": "Apache-2.0",
        "openvino": openvino.__version__,
        "files": {path.name: sha256(path) for path in files},
    }
    (archive.folder / MANIFEST).write_text(json.dumps(manifest, indent=1) + "\n", encoding="utf-8")


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


def _with_frame_input(graph: ov.Model, archive: Archive) -> ov.Model:
    """Let a graph take (1, H, W, 3) uint8 instead of floats."""
    from openvino import Type
    from openvino.preprocess import PrePostProcessor

    steps = PrePostProcessor(graph)
    steps.input().tensor().set_element_type(Type.u8)
    values = steps.input().preprocess().convert_element_type(Type.f32)
    (values.mean(archive.mean) if archive.mean else values).scale(archive.scale)
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
    for argument in sys.argv[1:]:
        convert(Path(argument))
