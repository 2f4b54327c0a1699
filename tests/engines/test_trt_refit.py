"""Weights of a style in an engine that was built without one."""

from __future__ import annotations

import pytest
import torch

from engines.cuda.fp16 import to_fp16
from engines.model.generator import FrameGraph, load_generator
from engines.parity import mismatch
from engines.style_file import StyleModel
from engines.trt import refit
from engines.trt.builder import FloatOutputGraph
from engines.trt.compat import Flavour
from engines.trt.plan_record import PlanKey
from engines.trt.refit import RefitError, random_generator, refit_table, refittable_weights
from engines.trt.runtime import verification_frame
from rtstyle.style_library import find
from tests.engines import fake_tensorrt
from tests.engines.fake_tensorrt import recorded, shape

HIGH, WIDE = 48, 64

ANY = Flavour("tensorrt", "tensorrt 11.0.0", "torch-tensorrt 2.13.0")

KEY = PlanKey("any", "g", HIGH, WIDE, "card", "8.9", "580.1", "13.0", "tensorrt 11", "2.13", "torch-tensorrt 2.13", "f")


def test_every_weight_is_found_by_its_value(style: StyleModel) -> None:
    network = to_fp16(random_generator(shape(style)))
    known = refit_table(recorded(network, HIGH, WIDE), refittable_weights(network, HIGH, WIDE))
    expected = {name for name in [*network.state_dict(), "canvas"] if not name.startswith("canvas.")}
    assert set(known["weights"].values()) == expected
    assert all(name == fake_tensorrt.PREFIX + ours for name, ours in known["weights"].items())
    assert known["constants"] == {"two CONSTANT": ["float32", [2.0]]}


def test_no_two_weights_of_the_random_network_are_alike(style: StyleModel) -> None:
    values = [
        tuple(v.flatten().tolist()) for v in refittable_weights(random_generator(shape(style)), HIGH, WIDE).values()
    ]
    assert len(set(values)) == len(values)


def test_a_table_with_a_gap_is_refused(style: StyleModel) -> None:
    network = to_fp16(random_generator(shape(style)))
    weights = refittable_weights(network, HIGH, WIDE)
    whole = recorded(network, HIGH, WIDE)
    with pytest.raises(RefitError, match="unknown weight big"):
        refit_table({**whole, "big": torch.randn(refit.CONSTANT + 1)}, weights)
    whole.pop(fake_tensorrt.PREFIX + "head.conv.bias")
    with pytest.raises(RefitError, match=r"no weight for head\.conv\.bias"):
        refit_table(whole, weights)


class Names:
    """TensorRT with an engine's weights by name alone."""

    Weights, DataType = fake_tensorrt.Weights, fake_tensorrt.DataType

    def __init__(self, listed: list[str], needed: tuple[str, ...] = ()) -> None:
        self.listed, self.needed = listed, needed
        self.given: list[str] = []

    def Refitter(self, engine: object, logger: object) -> Names:  # noqa: N802
        return self

    def get_all_weights(self) -> list[str]:
        return self.listed

    def set_named_weights(self, name: str, weights: object) -> bool:
        self.given.append(name)
        return True

    def get_missing_weights(self) -> list[str]:
        return [name for name in self.needed if name not in self.given]

    def refit_cuda_engine(self) -> bool:
        return True


def test_what_torch_tensorrt_does_not_record_stays_as_it_was_built(style: StyleModel) -> None:
    network = to_fp16(random_generator(shape(style)))
    weights, names = refittable_weights(network, HIGH, WIDE), recorded(network, HIGH, WIDE)
    known = refit_table(names, weights)
    trt = Names([*names, "pad_shape CONSTANT"])
    refit.refit(trt, None, None, known, weights)
    assert trt.given == list(names)
    with pytest.raises(RefitError, match="needs further weights: pad_shape CONSTANT"):
        refit.refit(Names(trt.listed, ("pad_shape CONSTANT",)), None, None, known, weights)
    with pytest.raises(RefitError, match=r"does not list the weight .*head\.conv\.bias"):
        refit.refit(Names([name for name in names if "head.conv.bias" not in name]), None, None, known, weights)


def test_constants_of_the_contrasts_stay_in_fp32(style: StyleModel) -> None:
    before = dict(load_generator(style).named_buffers())
    after = dict(to_fp16(load_generator(style)).named_buffers())
    fp32 = {name for name, value in after.items() if value.dtype == torch.float32}
    assert {name.rpartition(".")[2] for name in fp32} == {"luminance", "thirds", "mean_of_cell"}
    assert all(torch.equal(after[name], before[name]) for name in fp32)


def test_the_trial_picture_shows_every_bias_that_is_lost() -> None:
    # TensorRT's known issue with engines that can be refitted, and nothing but the picture would show it.
    style = StyleModel.open(find("vangogh"))
    frame, strength = torch.from_numpy(verification_frame(90, 160))[None], torch.ones(1)
    with torch.inference_mode():
        expected = FrameGraph(load_generator(style)).eval()(frame, strength)[0].numpy()

        def fault(lost: str = "") -> str:
            network = to_fp16(load_generator(style))
            if lost:
                network.state_dict()[lost].zero_()
            return mismatch(expected, FloatOutputGraph(network)(frame, strength).to(torch.uint8)[0].numpy())

        assert not fault()
        biases = [name for name in load_generator(style).state_dict() if name.endswith("bias")]
        assert len(biases) > 15
        assert not [name for name in biases if not fault(name)]
