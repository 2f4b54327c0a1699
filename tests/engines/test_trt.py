"""The TensorRT engine as far as a machine without a card can tell: stand-ins for TensorRT and for its versions."""

from __future__ import annotations

import logging
import shutil
import sys
import time
from collections.abc import Callable, Iterator
from dataclasses import asdict, replace
from importlib.metadata import PackageNotFoundError
from pathlib import Path
from types import ModuleType, SimpleNamespace
from typing import Any

import pytest
import torch

from engines import trt, trt_build, trt_run, trt_version, trt_weights
from engines.alike import difference
from engines.base import RGB, OverlappedEngine
from engines.cache import PlanCache
from engines.eager import EagerEngine
from engines.errors import EngineError
from engines.generator import Arch, FrameGraph, load_generator
from engines.model_file import StyleModel
from engines.record import PlanKey
from engines.takeover import TakeOver
from engines.trt import OWN, PlanAhead, TensorRtEngine, build_plan
from engines.trt_build import Numbers, PlanBuilder
from engines.trt_run import REFIT, trial_picture
from engines.trt_version import Flavour, installed, recorded_weights, serialized
from engines.trt_weights import RefitError, exchangeable, halved, random_generator, table
from rtstyle.styles import find
from tests.engines import fake_tensorrt, standin
from tests.engines.fake_tensorrt import plan_of, recorded

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
    assert not plain.is_rtx


@pytest.mark.parametrize(
    ("packages", "told"),
    [({}, "needs Torch-TensorRT"), ({"torch_tensorrt_rtx": "2.13.0", "tensorrt": "11.0.0"}, "needs tensorrt_rtx")],
)
def test_what_is_missing_is_told(packages: dict[str, str], told: str) -> None:
    with pytest.raises(EngineError, match=told) as error:
        installed(versions(**packages))
    assert "pip install" in error.value.hint


@pytest.mark.parametrize("capability", ["8.0", "9.0", "10.0"])
def test_the_rtx_flavour_is_refused_on_cards_of_data_centres(capability: str) -> None:
    with pytest.raises(EngineError, match=f"does not run on a card of compute capability {capability}"):
        Flavour("tensorrt_rtx", "", "").check(capability)
    Flavour("tensorrt", "", "").check(capability)
    Flavour("tensorrt_rtx", "", "").check("8.9")


def test_the_driver_tells_its_version(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    def absent(name: str) -> None:
        raise OSError(name)

    monkeypatch.setattr(trt_version.ctypes, "CDLL", absent)
    file = tmp_path / "version"
    monkeypatch.setattr(trt_version, "_DRIVER_FILE", file)
    with pytest.raises(EngineError, match="driver does not tell"):
        trt_version.driver_version()
    file.write_text("NVRM version: NVIDIA UNIX x86_64 Kernel Module  580.65.06  Sun Jul\nGCC version: gcc 12.3.0\n")
    assert trt_version.driver_version() == "580.65.06"

    class Library:
        def nvmlInit_v2(self) -> int:  # noqa: N802
            return 0

        def nvmlSystemGetDriverVersion(self, text: Any, length: int) -> int:  # noqa: N802
            text.value = b"581.1"
            return 0

        def nvmlShutdown(self) -> None: ...  # noqa: N802

    monkeypatch.setattr(trt_version.ctypes, "CDLL", lambda name: Library())
    assert trt_version.driver_version() == "581.1"


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
    timing_cache_path: str = "/tmp/shared",
    cache_built_engines: bool = False,
    reuse_cached_engines: bool = False,
    engine_cache_dir: str = "/tmp/shared",
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
    timing_cache_path: str = "/tmp/shared",
    cache_built_engines: bool = False,
    reuse_cached_engines: bool = False,
    engine_cache_dir: str = "/tmp/shared",
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
@pytest.mark.parametrize("builder", [trt.BUILDER, OWN])
def test_every_version_gets_the_settings_that_it_knows(
    convert: Callable[..., bytes], older: bool, builder: PlanBuilder
) -> None:
    settings = builder.settings(Path("/private"))
    given = dict(eval(serialized(dynamo(convert), None, [1, 2], settings)))
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
        serialized(dynamo(newer), None, [], trt.BUILDER.settings(Path("/private")))
    with pytest.raises(EngineError, match="not known"):
        serialized(SimpleNamespace(), None, [], {})  # type: ignore[arg-type]


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
            serialized(dynamo(convert), None, [], trt.BUILDER.settings(Path("/private")))
    assert not logging.getLogger("torch_tensorrt").handlers


@pytest.mark.parametrize("plan", [None, b"", "text"])
def test_what_is_no_engine_is_refused(plan: object) -> None:
    def convert(exported_program: Any, *, arg_inputs: Any, disable_tf32: bool, immutable_weights: bool,
                timing_cache_path: str) -> object:  # fmt: skip
        return plan

    with pytest.raises(EngineError, match="gave no engine"):
        serialized(dynamo(convert), None, [], trt.BUILDER.settings(Path("/private")))


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


# Weights that are exchanged.


def shape(style: StyleModel) -> Arch:
    return Arch.from_dict(dict(style.arch))


def test_every_weight_is_found_by_its_value(style: StyleModel) -> None:
    network = halved(random_generator(shape(style)))
    known = table(recorded(network, HIGH, WIDE), exchangeable(network, HIGH, WIDE))
    expected = {name for name in [*network.state_dict(), "canvas"] if not name.startswith("canvas.")}
    assert set(known["weights"].values()) == expected
    assert all(name == fake_tensorrt.PREFIX + ours for name, ours in known["weights"].items())
    assert known["constants"] == {"two CONSTANT": ["float32", [2.0]]}


def test_no_two_weights_of_the_random_network_are_alike(style: StyleModel) -> None:
    values = [tuple(v.flatten().tolist()) for v in exchangeable(random_generator(shape(style)), HIGH, WIDE).values()]
    assert len(set(values)) == len(values)


def test_a_table_with_a_gap_is_refused(style: StyleModel) -> None:
    network = halved(random_generator(shape(style)))
    weights = exchangeable(network, HIGH, WIDE)
    whole = recorded(network, HIGH, WIDE)
    with pytest.raises(RefitError, match="nobody knows what the weight big"):
        table({**whole, "big": torch.randn(trt_weights.CONSTANT + 1)}, weights)
    whole.pop(fake_tensorrt.PREFIX + "head.conv.bias")
    with pytest.raises(RefitError, match=r"no weight for head\.conv\.bias"):
        table(whole, weights)


def test_constants_of_the_contrasts_stay_in_fp32(style: StyleModel) -> None:
    before = dict(load_generator(style).named_buffers())
    after = dict(halved(load_generator(style)).named_buffers())
    fp32 = {name for name, value in after.items() if value.dtype == torch.float32}
    assert {name.rpartition(".")[2] for name in fp32} == {"luminance", "thirds", "mean_of_cell"}
    assert all(torch.equal(after[name], before[name]) for name in fp32)


def test_the_trial_picture_shows_every_bias_that_is_lost() -> None:
    # TensorRT's known issue with engines that can be refitted, and nothing but the picture would show it.
    style = StyleModel.open(find("vangogh"))
    frame, strength = torch.from_numpy(trial_picture(90, 160))[None], torch.ones(1)
    with torch.inference_mode():
        expected = FrameGraph(load_generator(style)).eval()(frame, strength)[0].numpy()

        def fault(lost: str = "") -> str:
            network = halved(load_generator(style))
            if lost:
                network.state_dict()[lost].zero_()
            return difference(expected, Numbers(network)(frame, strength).to(torch.uint8)[0].numpy())

        assert not fault()
        biases = [name for name in load_generator(style).state_dict() if name.endswith("bias")]
        assert len(biases) > 15
        assert not [name for name in biases if not fault(name)]


# The engine.


class Shelf:
    """Stand-ins for the two builders: their keys alone."""

    def __init__(self) -> None:
        self.shared, self.own = SimpleNamespace(key=self._shared), SimpleNamespace(key=self._own)

    def _shared(self, style: StyleModel, height: int, width: int) -> PlanKey:
        return replace(KEY, height=height, width=width)

    def _own(self, style: StyleModel, height: int, width: int) -> PlanKey:
        return replace(KEY, height=height, width=width, style_sha256=style.name)

    def extra(self, style: StyleModel, height: int, width: int) -> dict[str, Any]:
        network = halved(random_generator(shape(style)))
        return {REFIT: table(recorded(network, height, width), exchangeable(network, height, width))}


@pytest.fixture
def style(tiny_style: Path) -> StyleModel:
    return StyleModel.open(tiny_style)


@pytest.fixture
def cache(tmp_path: Path) -> PlanCache:
    return PlanCache(tmp_path / "engines")


@pytest.fixture
def shelf(monkeypatch: pytest.MonkeyPatch) -> Iterator[Shelf]:
    shelf = Shelf()
    monkeypatch.setattr(trt, "installed", lambda: ANY)
    monkeypatch.setattr(trt, "DEVICE", torch.device("cpu"))
    monkeypatch.setattr(trt, "BUILDERS", {"shared": shelf.shared, "own": shelf.own})
    monkeypatch.setattr(trt_run, "import_tensorrt", lambda flavour: fake_tensorrt)
    yield shelf
    trt_run._runtime.cache_clear()


def on_cpu(style: StyleModel, cache: PlanCache) -> TensorRtEngine:
    return TensorRtEngine(style, cache=cache, device=torch.device("cpu"))


def photograph() -> RGB:
    return trial_picture(HIGH, WIDE)[::-1].copy()


def test_a_plan_of_the_cache_paints_the_picture_of_its_style(style: StyleModel, cache: PlanCache, shelf: Shelf) -> None:
    cache.put(shelf.own.key(style, HIGH, WIDE), plan_of(style, HIGH, WIDE), seconds=1.0, extra={})
    engine = on_cpu(style, cache)
    assert isinstance(engine, OverlappedEngine)
    for strength in (1.0, 0.3, 0.0):
        assert not difference(EagerEngine(style, device="cpu")(photograph(), strength), engine(photograph(), strength))
    assert engine.info.name == "tensorrt" and engine.info.runtime == "tensorrt 11.0.0"
    engine.close()
    with pytest.raises(EngineError, match="closed"):
        engine(photograph())


def test_a_shared_plan_takes_the_weights_of_the_style(style: StyleModel, cache: PlanCache, shelf: Shelf) -> None:
    plan = plan_of(None, HIGH, WIDE, arch=dict(style.arch))
    cache.put(shelf.shared.key(style, HIGH, WIDE), plan, seconds=1.0, extra=shelf.extra(style, HIGH, WIDE))
    engine = on_cpu(style, cache)
    assert not difference(EagerEngine(style, device="cpu")(photograph()), engine(photograph()))
    engine.close()


def test_a_plan_that_paints_another_picture_is_remembered_and_not_used(
    style: StyleModel, cache: PlanCache, shelf: Shelf
) -> None:
    shared = shelf.shared.key(style, HIGH, WIDE)
    plan = plan_of(None, HIGH, WIDE, arch=dict(style.arch))
    extra = shelf.extra(style, HIGH, WIDE)
    names = extra[REFIT]["weights"]
    one, other = (fake_tensorrt.PREFIX + f"body.0.{name}.conv.weight" for name in ("first", "second"))
    names[one], names[other] = names[other], names[one]
    cache.put(shared, plan, seconds=1.0, extra=extra)
    engine = on_cpu(style, cache)
    with pytest.raises(EngineError, match="no TensorRT engine is built for 64×48") as error:
        engine(photograph())
    assert "rtstyle engine build tiny --size 64x48" in error.value.hint
    assert "another picture" in cache.fault(shared)
    cache.put(shelf.own.key(style, HIGH, WIDE), plan_of(style, HIGH, WIDE), seconds=1.0, extra={})
    assert not difference(EagerEngine(style, device="cpu")(photograph()), engine(photograph()))
    engine.close()


@pytest.mark.parametrize(
    ("plan", "told"),
    [
        ({"output": "UINT8"}, "no frame graph"),
        ({"height": HIGH + 16}, "no frame graph"),
        ({"broken": True}, "does not start"),
    ],
)
def test_a_plan_that_does_not_fit_is_refused(
    style: StyleModel, cache: PlanCache, shelf: Shelf, plan: dict[str, Any], told: str
) -> None:
    built = plan_of(style, **{"height": HIGH, "width": WIDE, **plan})
    cache.put(shelf.own.key(style, HIGH, WIDE), built, seconds=1.0, extra={})
    engine = on_cpu(style, cache)
    with pytest.raises(EngineError, match=told):
        engine(photograph())
    engine.close()


def test_a_plan_that_tensorrt_does_not_load_is_told(style: StyleModel, cache: PlanCache, shelf: Shelf) -> None:
    cache.put(shelf.own.key(style, HIGH, WIDE), b"rubbish", seconds=1.0, extra={})
    with pytest.raises(EngineError, match="does not load the engine"):
        on_cpu(style, cache)(photograph())


def test_an_engine_that_cannot_be_refitted_is_not_used_for_all(
    style: StyleModel, cache: PlanCache, shelf: Shelf
) -> None:
    plan = plan_of(None, HIGH, WIDE, arch=dict(style.arch)).replace(b'"refit": true', b'"refit": false')
    shared = shelf.shared.key(style, HIGH, WIDE)
    cache.put(shared, plan, seconds=1.0, extra=shelf.extra(style, HIGH, WIDE))
    with pytest.raises(EngineError, match="no TensorRT engine is built"):
        on_cpu(style, cache)(photograph())
    assert "cannot be exchanged" in cache.fault(shared)


# Its key.


@pytest.fixture
def machine(monkeypatch: pytest.MonkeyPatch) -> Iterator[None]:
    monkeypatch.setattr(trt_build, "require", lambda: None)
    monkeypatch.setattr(trt_build, "installed", lambda: ANY)
    monkeypatch.setattr(trt_build, "driver_version", lambda: "580.1")
    monkeypatch.setattr(trt_build, "code_sha256", lambda: "c" * 64)
    monkeypatch.setattr(torch.cuda, "get_device_capability", lambda device: (8, 9))
    monkeypatch.setattr(torch.cuda, "get_device_name", lambda device: "a card")
    return


CHANGES: dict[str, Callable[[pytest.MonkeyPatch], None]] = {
    "gpu": lambda m: m.setattr(torch.cuda, "get_device_name", lambda device: "another"),
    "capability": lambda m: m.setattr(torch.cuda, "get_device_capability", lambda device: (9, 0)),
    "driver": lambda m: m.setattr(trt_build, "driver_version", lambda: "581.1"),
    "cuda": lambda m: m.setattr(torch.version, "cuda", "14.0"),
    "torch": lambda m: m.setattr(torch, "__version__", "2.99"),
    "tensorrt": lambda m: m.setattr(trt_build, "installed", lambda: replace(ANY, runtime="tensorrt 12")),
    "torch_tensorrt": lambda m: m.setattr(trt_build, "installed", lambda: replace(ANY, torch_tensorrt="2.99")),
    "flags": lambda m: m.setattr(trt_build, "code_sha256", lambda: "d" * 64),
}


@pytest.mark.usefixtures("machine")
@pytest.mark.parametrize("field", CHANGES)
def test_the_key_changes_with_what_the_engine_depends_on(
    field: str, style: StyleModel, monkeypatch: pytest.MonkeyPatch
) -> None:
    before = OWN.key(style, HIGH, WIDE)
    CHANGES[field](monkeypatch)
    after = OWN.key(style, HIGH, WIDE)
    assert {name for name in asdict(before) if asdict(before)[name] != asdict(after)[name]} == {field}


@pytest.mark.usefixtures("machine")
def test_the_key_names_the_style_only_where_it_is_built_in(style: StyleModel, tmp_path: Path) -> None:
    shutil.copytree(style.folder, tmp_path / "other")
    other = replace(style, folder=tmp_path / "other")
    other.weights.write_bytes(b"others")
    assert trt.BUILDER.key(style, HIGH, WIDE) == trt.BUILDER.key(other, HIGH, WIDE)
    assert OWN.key(style, HIGH, WIDE).style_sha256 != OWN.key(other, HIGH, WIDE).style_sha256
    assert trt.BUILDER.key(style, HIGH, WIDE).flags != OWN.key(style, HIGH, WIDE).flags
    assert OWN.key(style, HIGH, WIDE) != OWN.key(style, WIDE, HIGH)


@pytest.mark.usefixtures("machine")
def test_the_key_changes_with_the_graph_and_the_shape(style: StyleModel) -> None:
    before = trt.BUILDER.key(style, HIGH, WIDE)
    wider = replace(style, arch={**style.arch, "body": 99})
    assert trt.BUILDER.key(wider, HIGH, WIDE).flags != before.flags
    assert before.graph_sha256 == trt_build.sha256(style.graph)


def test_the_key_holds_the_hash_of_the_code() -> None:
    assert len(trt_build.code_sha256()) == 64


# Plans that are built ahead.


class Process:
    """A stand-in for the build's process: a test decides how it ends."""

    made: list[Process]

    def __init__(self, style: Path, height: int, width: int, *, builder: str = "", folder: Path | None = None) -> None:
        self.builder, self.folder, self.size = builder, folder, (height, width)
        self.progress, self.end, self.closed = "layer 1", None, 0
        self.made.append(self)

    def poll(self) -> str | None:
        return self.end

    def close(self) -> None:
        self.closed += 1


@pytest.fixture
def processes(monkeypatch: pytest.MonkeyPatch, shelf: Shelf) -> Iterator[list[Any]]:
    made: list[Any] = []
    monkeypatch.setattr(trt, "BuildProcess", type("Process", (Process,), {"made": made}))
    yield made
    assert not trt._Build._running, "a build that nobody waits for"
    assert all(process.closed for process in made)


def test_a_plan_is_built_ahead_and_loaded(
    style: StyleModel, cache: PlanCache, shelf: Shelf, processes: list[Any]
) -> None:
    ahead = PlanAhead(style, HIGH, WIDE, cache)
    assert ahead.poll() is None and ahead.poll() is None
    (process,) = processes
    assert (process.builder, process.size, process.folder) == ("shared", (HIGH, WIDE), cache.folder)
    assert ahead.progress == "layer 1"
    plan = plan_of(None, HIGH, WIDE, arch=dict(style.arch))
    cache.put(shelf.shared.key(style, HIGH, WIDE), plan, seconds=1.0, extra=shelf.extra(style, HIGH, WIDE))
    process.end = ""
    assert ahead.poll() == ""
    engine = ahead.load()
    ahead.close()
    assert process.closed == 1
    assert not difference(EagerEngine(style, device="cpu")(photograph()), engine(photograph()))
    engine.close()


def test_what_is_there_is_not_built(style: StyleModel, cache: PlanCache, shelf: Shelf, processes: list[Any]) -> None:
    cache.put(shelf.shared.key(style, HIGH, WIDE), b"plan", seconds=1.0, extra={})
    ahead = PlanAhead(style, HIGH, WIDE, cache)
    assert ahead.poll() == "" and not processes
    ahead.close()


def test_where_no_plan_can_be_shared_each_style_has_its_own(
    style: StyleModel, cache: PlanCache, shelf: Shelf, processes: list[Any]
) -> None:
    ahead = PlanAhead(style, HIGH, WIDE, cache)
    assert ahead.poll() is None
    processes[0].end = "its weights cannot be exchanged"
    assert ahead.poll() is None
    assert [process.builder for process in processes] == ["shared", "own"]
    processes[1].end = "no kernel"
    assert ahead.poll() == "no kernel"
    ahead.close()
    assert [process.closed for process in processes] == [1, 1]


def test_what_failed_before_is_not_built_again(
    style: StyleModel, cache: PlanCache, shelf: Shelf, processes: list[Any]
) -> None:
    cache.refuse(shelf.shared.key(style, HIGH, WIDE), "no refit")
    ahead = PlanAhead(style, HIGH, WIDE, cache)
    assert ahead.poll() is None
    ahead.close()
    assert [process.builder for process in processes] == ["own"]
    cache.refuse(shelf.own.key(style, HIGH, WIDE), "no kernel")
    other = PlanAhead(style, HIGH, WIDE, cache)
    assert other.poll() == "no kernel"
    assert len(processes) == 1


def test_styles_that_share_a_plan_share_its_build(
    style: StyleModel, cache: PlanCache, shelf: Shelf, processes: list[Any]
) -> None:
    both = [PlanAhead(style, HIGH, WIDE, cache) for _ in range(2)]
    assert [ahead.poll() for ahead in both] == [None, None]
    (process,) = processes
    both[0].close()
    both[0].close()
    assert process.closed == 0, "the other one still waits"
    both[1].close()
    assert process.closed == 1
    again = PlanAhead(style, HIGH, WIDE, cache)
    assert again.poll() is None and len(processes) == 2
    again.close()


def test_who_wants_to_wait_hears_how_far_it_is(
    style: StyleModel, cache: PlanCache, shelf: Shelf, processes: list[Any], monkeypatch: pytest.MonkeyPatch
) -> None:
    told: list[str] = []

    def sleep(seconds: float) -> None:
        processes[0].progress = f"layer {len(told) + 1}"
        if len(told) == 3:
            processes[0].end = ""

    monkeypatch.setattr(trt.time, "sleep", sleep)
    assert build_plan(style, HIGH, WIDE, told.append, cache) == ""
    assert told[0] and told[-1] == "layer 3" and processes[0].closed == 1


def test_the_tensorrt_engine_takes_over_from_another(
    style: StyleModel, cache: PlanCache, shelf: Shelf, processes: list[Any]
) -> None:
    faults: list[str] = []
    first = EagerEngine(style, device="cpu")
    engine = TakeOver(
        first, lambda high, wide: PlanAhead(style, high, wide, cache), on_fault=faults.append, settled_s=0.0
    )
    end_s = time.monotonic() + 30
    while engine.info.name != "tensorrt":
        assert not difference(first(photograph()), engine(photograph()))
        if processes and processes[0].end is None:
            cache.put(shelf.own.key(style, HIGH, WIDE), plan_of(style, HIGH, WIDE), seconds=1.0, extra={})
            cache.refuse(shelf.shared.key(style, HIGH, WIDE), "no refit")
            processes[0].end = "no refit"
        assert time.monotonic() < end_s and not faults, faults
    assert not difference(first(photograph()), engine(photograph()))
    engine.close()


# With real processes.


def with_builders(monkeypatch: pytest.MonkeyPatch, *names: str) -> None:
    builders = {f"tests.engines.standin:{name}": getattr(standin, name) for name in names}
    monkeypatch.setattr(trt, "BUILDERS", builders)


@pytest.mark.skipif(sys.platform != "linux", reason="reads /proc")
def test_closing_kills_the_build_and_what_it_started(
    style: StyleModel, cache: PlanCache, shelf: Shelf, monkeypatch: pytest.MonkeyPatch
) -> None:
    with_builders(monkeypatch, "LINGER")
    first = EagerEngine(style, device="cpu")
    engine = TakeOver(first, lambda high, wide: PlanAhead(style, high, wide, cache), settled_s=0.0)
    end_s = time.monotonic() + 60
    while not engine.progress.startswith("started"):
        engine(photograph())
        assert time.monotonic() < end_s
    processes = [int(word) for word in engine.progress.split()[1:]]
    engine.close()
    assert engine.progress == "" and not cache.entries()
    while any(alive(process) for process in processes):
        assert time.monotonic() < end_s
        time.sleep(0.01)


def alive(process: int) -> bool:
    try:
        return Path(f"/proc/{process}/stat").read_text().rpartition(")")[2].split()[0] != "Z"
    except OSError:
        return False


def test_a_build_that_crashes_leaves_the_first_engine_painting(
    style: StyleModel, cache: PlanCache, shelf: Shelf, monkeypatch: pytest.MonkeyPatch
) -> None:
    with_builders(monkeypatch, "CRASH")
    faults: list[str] = []
    first = EagerEngine(style, device="cpu")
    engine = TakeOver(
        first, lambda high, wide: PlanAhead(style, high, wide, cache), on_fault=faults.append, settled_s=0.0
    )
    end_s = time.monotonic() + 60
    while not faults:
        engine(photograph())
        assert time.monotonic() < end_s
    assert len(faults[0].splitlines()) == 1 and faults[0].startswith("the faster engine for 64×48 is not used: ")
    assert engine.info.name == "torch"
    engine.close()
    again = PlanAhead(style, HIGH, WIDE, cache)
    assert again.poll(), "it is remembered, and no process is started"
    again.close()
