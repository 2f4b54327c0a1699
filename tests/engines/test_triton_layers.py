"""Each Triton kernel of the network without a GPU: its interpreter runs them, its compiler accepts them."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path

import numpy as np
import pytest

from tests.engines.test_triton_body import run

CASES = (
    "cells",
    "first",
    "colours",
    "fine",
    "coarse",
    "edge",
    "added",
    "then",
    "no edge",
    "1×1",
    "halved",
    "merge",
    "paint",
)

EXACT = ("cells", "colours")
ALL_ALIKE = ("fine", "coarse")
"""Cases that are the same to the last bit, and those that are computed for one architecture only."""


@pytest.fixture(scope="module")
def layers(tmp_path_factory: pytest.TempPathFactory) -> Mapping[str, np.ndarray]:
    made = tmp_path_factory.mktemp("layers") / "made.npz"
    run("import sys; from tests.engines.triton_layers import main; main(sys.argv[1])", made, TRITON_INTERPRET="1")
    with np.load(made) as arrays:
        return dict(arrays)


@pytest.mark.slow
@pytest.mark.parametrize("arch", ["narrow", "default", "wide"])
@pytest.mark.parametrize("case", CASES)
def test_computes_what_torch_computes_in_fp32(layers: Mapping[str, np.ndarray], arch: str, case: str) -> None:
    arch = "default" if case in ALL_ALIKE else arch
    of_case = [name for name in layers if name.startswith(f"{arch}, {case} ") and name.endswith(", actual")]
    assert len(of_case) >= 4
    for name in of_case:
        actual, expected = layers[name], layers[name.replace("actual", "expected")]
        assert actual.shape == expected.shape, name
        if case in EXACT:
            np.testing.assert_array_equal(actual, expected, err_msg=name)
            continue
        # One rounding to fp16, 2⁻¹¹ of the value; `then` and `paint` multiply values that were rounded before.
        np.testing.assert_allclose(actual, expected, rtol=2**-11, atol=2**-11, err_msg=name)
        assert np.abs(actual - expected).mean() < 2e-4 * max(1.0, np.abs(expected).mean()), name


@pytest.mark.slow
def test_gives_the_same_bits_twice(layers: Mapping[str, np.ndarray]) -> None:
    again = [name for name in layers if name.endswith(", again")]
    assert len(again) > 4 * len(CASES)
    for name in again:
        np.testing.assert_array_equal(layers[name], layers[name.replace("again", "actual")], err_msg=name)


COMPILER = """
from benchmarks.kernels import CAPABILITIES, cells_launches, frame_launches, resources
from engines.model.generator import Arch
from tests.engines.triton_layers import ARCHS

default = frame_launches(Arch(), 720, 1280)
assert len(default) == 17, [launch.name for launch in default]
assert sum(launch.bytes for launch in default) < 92e6
others = frame_launches(Arch(), 361, 639)
assert [launch.key() for launch in default[:-1]] == [launch.key() for launch in others[:-1]]
for capability in CAPABILITIES:
    for launch in {launch.key(): launch for launch in default}.values():
        _, _, stack, shared = resources(launch.compile(capability))
        assert stack <= 64 and shared <= 64 << 10, (capability, launch.name)
for arch in ARCHS.values():
    for launch in {launch.key(): launch for launch in frame_launches(arch, 720, 1280)}.values():
        assert launch.compile(80).asm["cubin"], launch.name
for launch in [*cells_launches(720, 1280), default[-1]]:
    assert resources(launch.compile(75))[2] <= 64, launch.name
"""


@pytest.mark.slow
def test_is_compiled_for_every_card(tmp_path: Path) -> None:
    """A frame takes 17 kernels, all but the last the same for any size; they fit into registers and shared memory."""
    run(COMPILER, TRITON_CACHE_DIR=str(tmp_path), TRITON_INTERPRET="0")
