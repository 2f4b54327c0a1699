"""What of TensorRT is installed, and where its versions differ.

There are two flavours, which exclude each other: ``torch-tensorrt`` with ``tensorrt`` for every card, and
``torch-tensorrt-rtx`` with ``tensorrt_rtx`` for GeForce and RTX cards. Both import as ``torch_tensorrt``.

What is called is ``torch_tensorrt.dynamo.convert_exported_program_to_serialized_trt_engine``: the whole graph becomes
one network, or it raises; there are no pieces that torch would run. It takes ``arg_inputs`` in every version from 2.11
to 2.14. Read from their sources, these differ:

    use_explicit_typing     2.11, 2.12   strong typing, on unless told; later always on, and the name is gone
    enabled_precisions      2.11, 2.12   must stay away: half precision is the model's own
    use_python_runtime      2.11, 2.12   of no use here; 2.14 warns of it
    a fault in the network  2.11         is logged and ends in an UnboundLocalError; later a RuntimeError says it
    unknown names                        all swallow them without a word, so names are looked up first

In all of them, ``timing_cache_path`` is a file in the shared temporary folder unless told, and ``disable_tf32`` is off.
None casts to uint8: ``aten._to_copy`` takes no such target. Frames go in as bytes, numbers come out.
"""

from __future__ import annotations

import ctypes
import importlib
import inspect
import logging
import re
import sys
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from importlib.metadata import PackageNotFoundError, version
from pathlib import Path
from typing import Any, Protocol

from engines.errors import EngineError

RTX_CAPABILITIES = ("7.5", "8.6", "8.9", "12.0", "12.1")
"""Compute capabilities that TensorRT for RTX runs on, by its support matrix; A100, H100 and H200 are not among them."""

_INSTALL = 'pip install "rtstyle[tensorrt]"'
_CUDA_SUFFIXES = ("", "-cu13", "-cu12")
_NEEDED = ("arg_inputs", "disable_tf32", "immutable_weights", "timing_cache_path")
_DRIVER_FILE = Path("/proc/driver/nvidia/version")


@dataclass(frozen=True)
class Flavour:
    """Which TensorRT there is.

    Attributes:
        module: what is imported, ``tensorrt`` or ``tensorrt_rtx``.
        runtime: packages and versions of TensorRT.
        torch_tensorrt: package and version of what builds.
    """

    module: str
    runtime: str
    torch_tensorrt: str

    @property
    def is_rtx(self) -> bool:
        """TensorRT for RTX."""
        return self.module == "tensorrt_rtx"

    def check(self, capability: str) -> None:
        """Refuse a card that this flavour does not run on.

        Args:
            capability: like ``8.9``.

        Raises:
            EngineError.
        """
        if self.is_rtx and capability not in RTX_CAPABILITIES:
            raise EngineError(
                f"TensorRT for RTX does not run on a card of compute capability {capability}",
                hint='pip uninstall torch-tensorrt-rtx; pip install "rtstyle[tensorrt]", or use --engine cuda',
            )


def installed(version_of: Callable[[str], str] = version) -> Flavour:
    """The flavour that ``torch_tensorrt`` takes, too: that for RTX where it is installed.

    Args:
        version_of: tells the version of a package, or raises PackageNotFoundError.

    Raises:
        EngineError: Torch-TensorRT, or the TensorRT that belongs to it, is missing.
    """
    for package, module in (("torch-tensorrt-rtx", "tensorrt_rtx"), ("torch-tensorrt", "tensorrt")):
        builder = _versions([package], version_of)
        if not builder:
            continue
        runtime = _versions([module + suffix for suffix in _CUDA_SUFFIXES], version_of)
        if not runtime:
            raise EngineError(f"{builder} needs {module}", hint=f"pip install --force-reinstall {package}")
        return Flavour(module, runtime, builder)
    raise EngineError("the tensorrt engine needs Torch-TensorRT", hint=_INSTALL)


def _versions(packages: Sequence[str], version_of: Callable[[str], str]) -> str:
    """All that are there, since each of them may hold what is imported."""
    found = []
    for package in packages:
        try:
            found.append(f"{package} {version_of(package)}")
        except PackageNotFoundError:
            continue
    return ", ".join(found)


def driver_version() -> str:
    """Of the NVIDIA driver, like ``580.65.06``: from its management library, which comes with it, or from its file.

    Raises:
        EngineError: neither is there.
    """
    try:
        library = ctypes.CDLL("nvml.dll" if sys.platform == "win32" else "libnvidia-ml.so.1")
        text = ctypes.create_string_buffer(96)
        if library.nvmlInit_v2() == 0:
            failed = library.nvmlSystemGetDriverVersion(text, len(text))
            library.nvmlShutdown()
            if not failed:
                return text.value.decode("ascii", "replace")
    except (OSError, AttributeError):  # containers may come without it
        pass
    try:
        # The first line holds the version of the module, the second that of a compiler.
        found = re.search(r"\b\d+\.\d+(\.\d+)?\b", _DRIVER_FILE.read_text(encoding="ascii", errors="replace"))
    except OSError:
        found = None
    if found is None:
        raise EngineError("the NVIDIA driver does not tell its version", hint="nvidia-smi tells whether it runs")
    return found[0]


def import_tensorrt(flavour: Flavour) -> Any:
    """The TensorRT module.

    Raises:
        EngineError: it does not load.
    """
    try:
        return importlib.import_module(flavour.module)
    except (ImportError, OSError) as error:
        raise EngineError(
            f"{flavour.runtime} does not load: {error}",
            hint=f'pip install "rtstyle[{"rtx" if flavour.is_rtx else "tensorrt"}]"',
        ) from error


def import_torch_tensorrt() -> Any:
    """Torch-TensorRT.

    Raises:
        EngineError: it does not load; without CUDA it raises an AssertionError.
    """
    try:
        return importlib.import_module("torch_tensorrt")
    except (ImportError, OSError) as error:
        raise EngineError(f"Torch-TensorRT does not load: {error}", hint=_INSTALL) from error
    except Exception as error:
        raise EngineError(f"Torch-TensorRT does not start: {str(error).splitlines()[0]}") from error


class _Dynamo(Protocol):
    """The part of ``torch_tensorrt.dynamo`` that is called."""

    convert_exported_program_to_serialized_trt_engine: Callable[..., bytes]


def serialized(dynamo: _Dynamo, program: Any, inputs: Sequence[Any], settings: Mapping[str, Any]) -> bytes:
    """An exported program as the bytes of one TensorRT engine; here the versions differ.

    Args:
        dynamo: ``torch_tensorrt.dynamo``.
        program: of ``torch.export.export``.
        inputs: examples of what it takes, of the very shapes.
        settings: those whose names this version knows are given to it.

    Raises:
        EngineError: TensorRT cannot build it; or this version lacks a setting that must not be left to chance.
    """
    convert = getattr(dynamo, "convert_exported_program_to_serialized_trt_engine", None)
    known = inspect.signature(convert).parameters if convert is not None else {}
    missing = [name for name in _NEEDED if name not in known]
    if convert is None or missing:
        raise EngineError(
            "this version of Torch-TensorRT is not known: it lacks "
            + (", ".join(missing) if convert is not None else "convert_exported_program_to_serialized_trt_engine"),
            hint="2.11 to 2.14 are",
        )
    with _logged_faults() as faults:
        try:
            plan = convert(
                program, arg_inputs=list(inputs), **{name: value for name, value in settings.items() if name in known}
            )
        except Exception as error:
            told = faults[-1] if faults else (str(error) or type(error).__name__)
            raise EngineError(f"TensorRT cannot build the engine: {told.strip().splitlines()[0]}") from error
    if not isinstance(plan, bytes) or not plan:
        raise EngineError(f"Torch-TensorRT gave no engine but {type(plan).__name__}")
    return plan


@contextmanager
def _logged_faults() -> Iterator[list[str]]:
    """What Torch-TensorRT logs as an error meanwhile: often the only place where it says what is wrong."""
    found: list[str] = []

    class _Faults(logging.Handler):
        def emit(self, record: logging.LogRecord) -> None:
            found.append(record.getMessage())

    logger, handler = logging.getLogger("torch_tensorrt"), _Faults(logging.ERROR)
    logger.addHandler(handler)
    try:
        yield found
    finally:
        logger.removeHandler(handler)


@contextmanager
def recorded_weights(torch_tensorrt: Any) -> Iterator[dict[str, Any]]:
    """The weights of the network by the names that the engine will have for them, as they are while it is built.

    Every version keeps this table for its own refit (``ConversionContext.record_weight``) and shows it to nobody.

    Raises:
        EngineError: this version does not keep it.
    """
    found: dict[str, Any] = {}
    try:
        name = f"{torch_tensorrt.__name__}.dynamo.conversion._ConversionContext"
        context = importlib.import_module(name).ConversionContext
        record = context.record_weight
    except (ImportError, AttributeError) as error:
        raise EngineError("this version of Torch-TensorRT does not tell the names of weights") from error

    def listen(self: Any, name: str, weight: Any) -> None:
        found[name] = weight.detach().cpu().clone()
        record(self, name, weight)

    context.record_weight = listen
    try:
        yield found
    finally:
        context.record_weight = record
