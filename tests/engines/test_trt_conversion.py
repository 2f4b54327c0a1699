"""Torch-TensorRT takes our graph, without a card: `make test-tensorrt`. Skipped where its packages are not installed.

The builder's own code runs, with Torch-TensorRT and TensorRT for RTX as they are; ``torch_tensorrt_conversion`` says
what stands in for a card. The plans are never loaded, so what they compute is not seen here.
"""

from __future__ import annotations

import json
import re
import subprocess
import sys
from importlib.metadata import PackageNotFoundError, version
from typing import Any

import pytest

from tests.conftest import ROOT


def absent(package: str) -> bool:
    try:
        return not version(package)
    except PackageNotFoundError:
        return True


MISSING = [name for name in ("torch-tensorrt-rtx", "tensorrt_rtx_cu13", "dllist", "psutil") if absent(name)]

pytestmark = [
    pytest.mark.slow,
    pytest.mark.skipif(bool(MISSING), reason=f"`make test-tensorrt` installs {', '.join(MISSING)}"),
]

SHARED = "shared 256x144 8.9"
SINGLE = [f"single {size} {capability}" for size in ("256x144", "1280x720") for capability in ("8.9", "12.0")]
CASES = [SHARED, *SINGLE]

UNNAMED = {"canvas", "softening"}
"""Weights that Torch-TensorRT does not name after their module: they are found by their values alone."""


@pytest.fixture(scope="module")
def conversions(tmp_path_factory: pytest.TempPathFactory) -> dict[str, Any]:
    out = tmp_path_factory.mktemp("conversions") / "found.json"
    call = [sys.executable, "-W", "ignore", "-m", "tests.engines.torch_tensorrt_conversion", str(out), *CASES]
    run = subprocess.run(call, cwd=ROOT, capture_output=True, text=True, check=False)
    assert run.returncode == 0, run.stderr
    found: dict[str, Any] = json.loads(out.read_text())
    for case, its in found["cases"].items():
        print(f"{found['flavour']['runtime']}: {case}: {its['seconds']:.1f} s, {its['bytes'] / 1e6:.1f} MB")
    return found


def test_the_packages_are_those_that_the_engine_takes(conversions: dict[str, Any]) -> None:
    flavour = conversions["flavour"]
    assert flavour["module"] == "tensorrt_rtx"
    assert flavour["torch_tensorrt"].startswith("torch-tensorrt-rtx ")
    assert flavour["runtime"].startswith("tensorrt_rtx")


def only_network(conversions: dict[str, Any], case: str) -> dict[str, Any]:
    networks = conversions["cases"][case]["networks"]
    assert len(networks) == 1
    network: dict[str, Any] = networks[0]
    return network


@pytest.mark.parametrize("case", CASES)
def test_the_graph_becomes_one_network_with_the_tensors_of_a_body(conversions: dict[str, Any], case: str) -> None:
    # PlanBody has checked the kinds and shapes of the tensors, and refuses others.
    network = only_network(conversions, case)
    width, height = map(int, case.split()[1].split("x"))
    assert (network["inputs"], network["outputs"]) == (["frame", "strength"], 1)
    assert network["frame"] == [1, height, width, 3]


@pytest.mark.parametrize("case", CASES)
def test_the_contrasts_alone_are_fp32_without_tf32(conversions: dict[str, Any], case: str) -> None:
    network = only_network(conversions, case)
    assert network["convolutions"] == {"HALF": 17, "FLOAT": 5}
    assert network["tf32"] is False
    assert network["refit"] is (case == SHARED)


@pytest.mark.parametrize("case", CASES)
def test_a_plan_is_built_for_a_card_that_is_not_here(conversions: dict[str, Any], case: str) -> None:
    its = conversions["cases"][case]
    assert 500_000 < its["bytes"] < 20_000_000
    assert not its["left"], "a cache of Torch-TensorRT's own"


def test_every_weight_of_a_style_is_found(conversions: dict[str, Any]) -> None:
    its = conversions["cases"][SHARED]
    names = its["table"]["weights"]
    parts = {name for name in its["style"] if name.startswith("canvas.")}
    assert len(names) == 34 and sorted(names.values()) == sorted(set(its["style"]) - parts)


def test_the_weights_that_torch_tensorrt_names_are_those_that_were_found(conversions: dict[str, Any]) -> None:
    """Two ways to the same table: by value, as it is made, and by the module in the name of a layer."""
    roles = {"KERNEL": "weight", "BIAS": "bias"}
    names = conversions["cases"][SHARED]["table"]["weights"]
    for name, ours in names.items():
        module = re.search(r"\[whole\.generator\.(.+)/convolution\w*\] (KERNEL|BIAS)$", name)
        assert (module is None) is (ours in UNNAMED)
        assert module is None or f"{module[1]}.{roles[module[2]]}" == ours


def test_a_refit_gives_all_that_tensorrt_lists_but_the_shapes_of_padding(conversions: dict[str, Any]) -> None:
    its = conversions["cases"][SHARED]
    assert set(its["given"]) == {*its["table"]["weights"], *its["table"]["constants"]}
    assert all("pad" in name and "_input_shape_" in name for name in set(its["listed"]) - set(its["given"]))


@pytest.mark.parametrize(
    ("kind", "names"),
    [
        ("IRuntimeConfig", ["create_runtime_cache", "set_runtime_cache"]),
        ("IRuntimeCache", ["serialize", "deserialize"]),
        ("ICudaEngine", ["create_runtime_config", "create_execution_context", "refittable", "device_memory_size_v2"]),
        ("IExecutionContext", ["is_stream_capturable", "execute_async_v3", "set_tensor_address"]),
        ("Refitter", ["get_all_weights", "set_named_weights", "get_missing_weights", "refit_cuda_engine"]),
    ],
)
def test_tensorrt_for_rtx_has_what_the_runtime_calls(kind: str, names: list[str]) -> None:
    import tensorrt_rtx

    assert [name for name in names if not hasattr(getattr(tensorrt_rtx, kind), name)] == []


@pytest.mark.parametrize(
    ("call", "signature"),
    [
        ("ICudaEngine.create_execution_context", "runtime_config: tensorrt_rtx_bindings.tensorrt_rtx.IRuntimeConfig"),
        ("IExecutionContext.is_stream_capturable", "stream: typing.SupportsInt) -> bool"),
        ("IRuntimeCache.deserialize", "Buffer) -> bool"),
        ("IRuntimeCache.serialize", "-> tensorrt_rtx_bindings.tensorrt_rtx.IHostMemory"),
        ("IRuntimeConfig.set_runtime_cache", "cache: nvinfer1::IRuntimeCache = None) -> bool"),
    ],
)
def test_its_calls_take_and_return_what_the_runtime_expects(call: str, signature: str) -> None:
    import tensorrt_rtx

    kind, name = call.split(".")
    assert signature in getattr(getattr(tensorrt_rtx, kind), name).__doc__
