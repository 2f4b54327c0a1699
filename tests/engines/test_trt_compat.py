"""Flavours and versions of TensorRT, as far as they can be seen without a card."""

from __future__ import annotations

import logging
import sys
from collections.abc import Callable
from importlib.metadata import PackageNotFoundError
from pathlib import Path
from types import ModuleType, SimpleNamespace
from typing import Any

import pytest
import torch

from engines.errors import EngineError
from engines.install_hint import pip_install
from engines.trt import compat
from engines.trt.builder import SHARED, SINGLE, PlanBuilder
from engines.trt.compat import Flavour, import_tensorrt, installed, recorded_weights, serialize
from engines.trt.plan_record import PlanKey

HIGH, WIDE = 48, 64

ANY = Flavour("tensorrt", "tensorrt 11.0.0", "torch-tensorrt 2.13.0")

KEY = PlanKey("any", "g", HIGH, WIDE, "card", "8.9", "580.1", "13.0", "tensorrt 11", "2.13", "torch-tensorrt 2.13", "f")


def versions(**packages: str) -> Callable[[str], str]:
    def version_of(package: str) -> str:
        try:
            return packages[package.replace("-", "_")]
        except KeyError:
            raise PackageNotFoundError(package) from None

    return version_of


def test_the_flavour_is_the_one_that_torch_tensorrt_takes() -> None:
    both = versions(torch_tensorrt="2.13.0", tensorrt="11.0.0", torch_tensorrt_rtx="2.13.0", tensorrt_rtx_cu13="1.5.0")
    assert installed(both) == Flavour("tensorrt_rtx", "tensorrt_rtx-cu13 1.5.0", "torch-tensorrt-rtx 2.13.0")
    plain = installed(versions(torch_tensorrt="2.14.0", tensorrt_cu13="11.1.0"))
    assert plain == Flavour("tensorrt", "tensorrt-cu13 11.1.0", "torch-tensorrt 2.14.0")


@pytest.mark.parametrize(
    ("packages", "told"),
    [({}, "needs Torch-TensorRT"), ({"torch_tensorrt_rtx": "2.13.0", "tensorrt": "11.0.0"}, "needs tensorrt_rtx")],
)
def test_what_is_missing_is_told(packages: dict[str, str], told: str) -> None:
    with pytest.raises(EngineError, match=told) as error:
        installed(versions(**packages))
    assert "pip install" in error.value.hint


def test_torch_of_another_version_is_told_before_it_fails_to_load() -> None:
    found = {"torch_tensorrt": "2.13.0", "tensorrt": "11.0.0"}
    assert installed(versions(**found, torch="2.13.1+cu130")).module == "tensorrt"
    with pytest.raises(EngineError, match=r"torch-tensorrt 2\.13\.0 does not fit torch 2\.15\.0") as error:
        installed(versions(**found, torch="2.15.0"))
    assert error.value.hint == pip_install("tensorrt")


@pytest.mark.parametrize("capability", ["8.0", "9.0", "10.0"])
def test_the_rtx_flavour_is_refused_on_cards_of_data_centres(capability: str) -> None:
    with pytest.raises(EngineError, match=f"does not run on a GPU of compute capability {capability}"):
        Flavour("tensorrt_rtx", "", "").check(capability)
    Flavour("tensorrt", "", "").check(capability)
    Flavour("tensorrt_rtx", "", "").check("8.9")


def test_the_driver_tells_its_version(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    def absent(name: str) -> None:
        raise OSError(name)

    monkeypatch.setattr(compat.ctypes, "CDLL", absent)
    file = tmp_path / "version"
    monkeypatch.setattr(compat, "_DRIVER_FILE", file)
    with pytest.raises(EngineError, match="driver.s version"):
        compat.driver_version()
    file.write_text("NVRM version: NVIDIA UNIX x86_64 Kernel Module  580.65.06  Sun Jul\nGCC version: gcc 12.3.0\n")
    assert compat.driver_version() == "580.65.06"

    class Library:
        def nvmlInit_v2(self) -> int:  # noqa: N802
            return 0

        def nvmlSystemGetDriverVersion(self, text: Any, length: int) -> int:  # noqa: N802
            text.value = b"581.1"
            return 0

        def nvmlShutdown(self) -> None: ...  # noqa: N802

    monkeypatch.setattr(compat.ctypes, "CDLL", lambda name: Library())
    assert compat.driver_version() == "581.1"


# What each version takes, of what matters here. All of them swallow names that they do not know.


def _of_2_11(
    exported_program: Any,
    inputs: Any = None,
    *,
    arg_inputs: Any = None,
    disable_tf32: bool = False,
    enabled_precisions: Any = None,
    require_full_compilation: bool = False,
    min_block_size: int = 5,
    use_python_runtime: bool = False,
    timing_cache_path: str = "shared-by-all",
    cache_built_engines: bool = False,
    reuse_cached_engines: bool = False,
    engine_cache_dir: str = "shared-by-all",
    use_explicit_typing: bool = True,
    immutable_weights: bool = True,
    **kwargs: Any,
) -> bytes:
    return _given({key: value for key, value in locals().items() if key not in ("exported_program", "inputs")})


def _of_2_13(
    exported_program: Any,
    inputs: Any = None,
    *,
    arg_inputs: Any = None,
    disable_tf32: bool = False,
    require_full_compilation: bool = False,
    min_block_size: int = 5,
    timing_cache_path: str = "shared-by-all",
    cache_built_engines: bool = False,
    reuse_cached_engines: bool = False,
    engine_cache_dir: str = "shared-by-all",
    immutable_weights: bool = True,
    **kwargs: Any,
) -> bytes:
    return _given({key: value for key, value in locals().items() if key not in ("exported_program", "inputs")})


def _given(names: dict[str, Any]) -> bytes:
    assert not names.pop("kwargs"), "a name that this version does not know"
    names["arg_inputs"] = len(names["arg_inputs"])
    return repr(sorted(names.items())).encode()


def dynamo(convert: Callable[..., Any]) -> Any:
    return SimpleNamespace(convert_exported_program_to_serialized_trt_engine=convert)


@pytest.mark.parametrize(("convert", "older"), [(_of_2_11, True), (_of_2_13, False)])
@pytest.mark.parametrize("builder", [SHARED, SINGLE])
def test_every_version_gets_the_settings_that_it_knows(
    convert: Callable[..., bytes], older: bool, builder: PlanBuilder
) -> None:
    settings = builder.settings(Path("/private"))
    given = dict(eval(serialize(dynamo(convert), None, [1, 2], settings)))
    assert given["arg_inputs"] == 2
    assert given["disable_tf32"] is True
    assert given["immutable_weights"] is not builder.shared
    assert (given["min_block_size"], given["require_full_compilation"]) == (1, True)
    assert not given["cache_built_engines"] and not given["reuse_cached_engines"]
    assert given["timing_cache_path"].startswith("/private") and given["engine_cache_dir"] == "/private"
    assert given.get("use_explicit_typing") is (True if older else None)
    assert given.get("enabled_precisions") is None


def test_a_version_that_lost_an_important_setting_is_refused() -> None:
    def newer(exported_program: Any, *, arg_inputs: Any, timing_cache_path: str, **kwargs: Any) -> bytes:
        raise AssertionError("it must not be called")

    with pytest.raises(EngineError, match="lacks disable_tf32, immutable_weights"):
        serialize(dynamo(newer), None, [], SHARED.settings(Path("/private")))
    with pytest.raises(EngineError, match="not supported"):
        serialize(SimpleNamespace(), None, [], {})  # type: ignore[arg-type]


def test_what_a_version_says_of_a_failure_reaches_the_user() -> None:
    def of_2_11(exported_program: Any, *, arg_inputs: Any, disable_tf32: bool, immutable_weights: bool,
                timing_cache_path: str) -> bytes:  # fmt: skip
        logging.getLogger("torch_tensorrt.dynamo._compiler").error("While interpreting: no kernel\nand a trace")
        raise UnboundLocalError("interpreter_result")

    def of_2_13(exported_program: Any, *, arg_inputs: Any, disable_tf32: bool, immutable_weights: bool,
                timing_cache_path: str) -> bytes:  # fmt: skip
        raise RuntimeError("no kernel either")

    for convert, told in ((of_2_11, "While interpreting: no kernel$"), (of_2_13, "no kernel either")):
        with pytest.raises(EngineError, match=told):
            serialize(dynamo(convert), None, [], SHARED.settings(Path("/private")))
    assert not logging.getLogger("torch_tensorrt").handlers


@pytest.mark.parametrize("plan", [None, b"", "text"])
def test_what_is_no_engine_is_refused(plan: object) -> None:
    def convert(exported_program: Any, *, arg_inputs: Any, disable_tf32: bool, immutable_weights: bool,
                timing_cache_path: str) -> object:  # fmt: skip
        return plan

    with pytest.raises(EngineError, match="returned no engine"):
        serialize(dynamo(convert), None, [], SHARED.settings(Path("/private")))


def test_weights_are_recorded_as_they_are_built_in(monkeypatch: pytest.MonkeyPatch) -> None:
    class ConversionContext:
        def __init__(self) -> None:
            self.seen: list[str] = []

        def record_weight(self, name: str, weight: Any) -> None:
            self.seen.append(name)

    module = ModuleType("torch_tensorrt_x.dynamo.conversion._ConversionContext")
    module.ConversionContext = ConversionContext  # type: ignore[attr-defined]
    for name in ("torch_tensorrt_x", "torch_tensorrt_x.dynamo", "torch_tensorrt_x.dynamo.conversion"):
        monkeypatch.setitem(sys.modules, name, ModuleType(name))
    monkeypatch.setitem(sys.modules, module.__name__, module)
    original, value, context = ConversionContext.record_weight, torch.ones(2), ConversionContext()
    with recorded_weights(sys.modules["torch_tensorrt_x"]) as found:
        context.record_weight("a KERNEL", value)
    value.zero_()
    assert found["a KERNEL"].tolist() == [1, 1] and context.seen == ["a KERNEL"]
    assert ConversionContext.record_weight is original
    with pytest.raises(EngineError, match="names of weights"), recorded_weights(ModuleType("elsewhere")):
        pass


@pytest.mark.parametrize(("module", "extra"), [("tensorrt", "tensorrt"), ("tensorrt_rtx", "rtx")])
def test_what_does_not_load_names_its_own_extra(monkeypatch: pytest.MonkeyPatch, module: str, extra: str) -> None:
    monkeypatch.setitem(sys.modules, module, None)
    with pytest.raises(EngineError, match="does not load") as error:
        import_tensorrt(Flavour(module, f"{module} 11.0.0", "torch-tensorrt 2.13.0"))
    assert error.value.hint == pip_install(extra)
