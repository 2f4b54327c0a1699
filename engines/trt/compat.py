"""Find out which TensorRT is installed, and handle the differences between its versions.

Two flavours exclude each other: ``torch-tensorrt`` with ``tensorrt`` for every GPU, and ``torch-tensorrt-rtx`` with
``tensorrt_rtx`` for GeForce and RTX GPUs. Both import as ``torch_tensorrt``.

The entry point is ``torch_tensorrt.dynamo.convert_exported_program_to_serialized_trt_engine``: it makes the whole graph
one network or raises, and leaves no pieces to torch. It takes ``arg_inputs`` in versions 2.11 to 2.14. According to
their sources, these differ:

    use_explicit_typing     2.11, 2.12   strong typing, the default; later always on, and the name is gone
    enabled_precisions      2.11, 2.12   must not be set: half precision is the model's own
    use_python_runtime      2.11, 2.12   not needed here; 2.14 warns about it
    an error in the network 2.11         is logged and ends in an UnboundLocalError; later it is a RuntimeError
    unknown names                        ignored silently by all, so names are looked up first

In all of them ``timing_cache_path`` defaults to a file in the shared temporary folder, and ``disable_tf32`` to off.
None casts to uint8 (``aten._to_copy`` has no such target), so frames go in as bytes and come out as fp16.
"""

from __future__ import annotations

import ctypes
import importlib
import inspect
import logging
import re
import sys
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager, suppress
from dataclasses import dataclass
from importlib.metadata import PackageNotFoundError, version
from pathlib import Path
from typing import Any

from engines.cuda.torch_build import add_packages
from engines.errors import EngineError
from engines.install_hint import pip_install

RTX_CAPABILITIES = ("7.5", "8.6", "8.9", "12.0", "12.1")
"""Compute capabilities in the support matrix of TensorRT for RTX; those of A100, H100 and H200 are not in it."""

_CUDA_SUFFIXES = ("", "-cu13", "-cu12")
_CONVERT = "convert_exported_program_to_serialized_trt_engine"
_NEEDED = ("arg_inputs", "disable_tf32", "immutable_weights", "timing_cache_path")
_DRIVER_FILE = Path("/proc/driver/nvidia/version")


@dataclass(frozen=True)
class Flavour:
    """The TensorRT that is installed.

    Attributes:
        module: ``tensorrt`` or ``tensorrt_rtx``.
        runtime: packages and versions of TensorRT.
        torch_tensorrt: package and version of Torch-TensorRT.
    """

    module: str
    runtime: str
    torch_tensorrt: str

    def check(self, capability: str) -> None:
        """Raise EngineError unless this flavour runs on a GPU of a compute capability like ``8.9``."""
        if self.module == "tensorrt_rtx" and capability not in RTX_CAPABILITIES:
            raise EngineError(
                f"TensorRT for RTX does not run on a GPU of compute capability {capability}",
                hint=f"pip uninstall torch-tensorrt-rtx; {pip_install('tensorrt')}, "
                "or use --engine cuda (in Python: engine='cuda')",
            )


def installed(version_of: Callable[[str], str] = version) -> Flavour:
    """Return the flavour that ``torch_tensorrt`` uses: the one for RTX if it is installed.

    ``version_of`` returns the version of a package, or raises PackageNotFoundError.
    """
    for package, module in (("torch-tensorrt-rtx", "tensorrt_rtx"), ("torch-tensorrt", "tensorrt")):
        builder = _versions([package], version_of)
        if not builder:
            continue
        runtime = _versions([module + suffix for suffix in _CUDA_SUFFIXES], version_of)
        if not runtime:
            raise EngineError(f"{builder} needs {module}", hint=f"pip install --force-reinstall {package}")
        _check_torch(builder, version_of)
        return Flavour(module, runtime, builder)
    raise EngineError("the tensorrt engine needs Torch-TensorRT", hint=pip_install("tensorrt"))


def _check_torch(builder: str, version_of: Callable[[str], str]) -> None:
    """Raise EngineError unless torch has the minor version that Torch-TensorRT was built for: others do not load."""
    try:
        torch = version_of("torch")
    except PackageNotFoundError:
        return
    if torch.split(".")[:2] != builder.rpartition(" ")[2].split(".")[:2]:
        engine = "rtx" if "-rtx " in builder else "tensorrt"
        raise EngineError(f"{builder} does not fit torch {torch}", hint=add_packages(engine))


def _versions(packages: Sequence[str], version_of: Callable[[str], str]) -> str:
    """Return all that are installed, since any of them may provide the module."""
    found = []
    for package in packages:
        with suppress(PackageNotFoundError):
            found.append(f"{package} {version_of(package)}")
    return ", ".join(found)


def driver_version() -> str:
    """Return the NVIDIA driver's version, like ``580.65.06``, from NVML or from /proc."""
    try:
        library = ctypes.CDLL("nvml.dll" if sys.platform == "win32" else "libnvidia-ml.so.1")
        text = ctypes.create_string_buffer(96)
        if library.nvmlInit_v2() == 0:
            failed = library.nvmlSystemGetDriverVersion(text, len(text))
            library.nvmlShutdown()
            if not failed:
                return text.value.decode("ascii", "replace")
    except (OSError, AttributeError):  # containers may lack it
        pass
    try:
        # The first line holds the module's version, the second a compiler's.
        found = re.search(r"\b\d+\.\d+(\.\d+)?\b", _DRIVER_FILE.read_text(encoding="ascii", errors="replace"))
    except OSError:
        found = None
    if found is None:
        raise EngineError("cannot find the NVIDIA driver's version", hint="check the driver with nvidia-smi")
    return found[0]


def import_tensorrt(flavour: Flavour) -> Any:
    """Import TensorRT."""
    try:
        return importlib.import_module(flavour.module)
    except (ImportError, OSError) as error:
        hint = pip_install("rtx" if flavour.module == "tensorrt_rtx" else "tensorrt")
        raise EngineError(f"{flavour.runtime} does not load: {error}", hint=hint) from error


def import_torch_tensorrt() -> Any:
    """Import Torch-TensorRT, which does not load without CUDA."""
    try:
        return importlib.import_module("torch_tensorrt")
    except (ImportError, OSError) as error:
        raise EngineError(f"Torch-TensorRT does not load: {error}", hint=pip_install("tensorrt")) from error
    except Exception as error:
        raise EngineError(f"Torch-TensorRT does not start: {str(error).splitlines()[0]}") from error


def serialize(dynamo: Any, program: Any, inputs: Sequence[Any], settings: Mapping[str, Any]) -> bytes:
    """Build an exported program into one serialized TensorRT engine, with any supported ``torch_tensorrt.dynamo``.

    ``inputs`` are examples of the exact shapes. Those settings that this version knows are passed on.
    """
    convert = getattr(dynamo, _CONVERT, None)
    known = inspect.signature(convert).parameters if convert is not None else {}
    missing = [name for name in _NEEDED if name not in known] if convert is not None else [_CONVERT]
    if convert is None or missing:
        raise EngineError(
            f"this version of Torch-TensorRT is not supported: it lacks {', '.join(missing)}",
            hint="2.11 to 2.14 are supported",
        )
    chosen = {name: value for name, value in settings.items() if name in known}
    with _logged_errors() as logged:
        try:
            plan = convert(program, arg_inputs=list(inputs), **chosen)
        except Exception as error:
            reason = logged[-1] if logged else (str(error) or type(error).__name__)
            raise EngineError(f"TensorRT cannot build the engine: {reason.strip().splitlines()[0]}") from error
    if not isinstance(plan, bytes) or not plan:
        raise EngineError(f"Torch-TensorRT returned no engine but {type(plan).__name__}")
    return plan


@contextmanager
def _logged_errors() -> Iterator[list[str]]:
    """Collect the errors that Torch-TensorRT logs: often the only place where it says what is wrong."""
    found: list[str] = []

    class _Errors(logging.Handler):
        def emit(self, record: logging.LogRecord) -> None:
            found.append(record.getMessage())

    logger, handler = logging.getLogger("torch_tensorrt"), _Errors(logging.ERROR)
    logger.addHandler(handler)
    try:
        yield found
    finally:
        logger.removeHandler(handler)


@contextmanager
def recorded_weights(torch_tensorrt: Any) -> Iterator[dict[str, Any]]:
    """Record the weights that go into an engine while it is built, by the engine's names for them.

    Every version keeps this table for its own refit (``ConversionContext.record_weight``) but does not expose it.
    """
    found: dict[str, Any] = {}
    try:
        name = f"{torch_tensorrt.__name__}.dynamo.conversion._ConversionContext"
        context = importlib.import_module(name).ConversionContext
        record = context.record_weight
    except (ImportError, AttributeError) as error:
        raise EngineError("this version of Torch-TensorRT does not record the names of weights") from error

    def listen(self: Any, name: str, weight: Any) -> None:
        found[name] = weight.detach().cpu().clone()
        record(self, name, weight)

    context.record_weight = listen
    try:
        yield found
    finally:
        context.record_weight = record
