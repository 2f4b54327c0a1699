"""Kernels that are searched for while frames run, on a real card: `make test-gpu`."""

from __future__ import annotations

import threading
import time

import numpy as np
import pytest
import torch

from engines.base import RGB
from engines.style_file import StyleModel
from tests.engines.test_cuda_engine import close_to
from tests.engines.test_golden import picture
from tests.engines.test_on_gpu import GALLERY, STYLES, THERE, golden

pytestmark = [
    pytest.mark.gpu,
    pytest.mark.skipif(not THERE, reason="torch finds no CUDA device here"),
    pytest.mark.filterwarnings("ignore:Please use the new API settings"),
]


@pytest.fixture(scope="module")
def styles() -> list[StyleModel]:
    return [StyleModel.open(GALLERY / name) for name in STYLES]


def test_faster_kernels_take_over_between_two_frames(
    styles: list[StyleModel], caplog: pytest.LogCaptureFixture
) -> None:
    """Two sizes are searched for while frames of both, in two styles, and a new size go on."""
    from engines.cuda.engine import CudaEngine

    caplog.set_level("INFO", "engines.cuda")
    live, job = [CudaEngine(style, search="later") for style in styles], CudaEngine(styles[0])
    frames = [picture(360, 640), picture(127, 129)]
    expected = [[golden(style, rgb) for rgb in frames] for style in styles]

    def play() -> list[RGB]:
        """Stylize both frames in both styles; return those of the first."""
        stylized = [[engine(rgb) for rgb in frames] for engine in live]
        for one, wanted in zip(stylized, expected, strict=True):
            assert all(map(close_to, one, wanted))
        return stylized[0]

    play()
    assert not caplog.messages, "nothing is searched for before the first frames"
    deadline_s = time.monotonic() + 300
    while len(caplog.messages) < len(frames):
        assert time.monotonic() < deadline_s
        play()
        if len(caplog.messages) == 1:
            live[0](picture(90, 160))  # captured although a search may be under way
    told = ("are in use from now on", "cuDNN found none that are faster")
    assert all(message.endswith(told) for message in caplog.messages), caplog.messages
    settled = play()
    for _ in range(100):
        assert all(map(np.array_equal, play(), settled))
    assert all(map(close_to, map(job, frames), settled))
    for engine in (*live, job):
        engine.close()


def test_closing_during_a_search_waits_for_one_layer_and_frees_everything(styles: list[StyleModel]) -> None:
    from engines.cuda.body_search import SETTLED_FRAMES
    from engines.cuda.engine import CudaEngine

    torch.cuda.empty_cache()
    before = torch.cuda.memory_allocated()
    for _ in range(3):
        engine, rgb = CudaEngine(styles[0], search="later"), picture(720, 1280)
        pending = [engine.submit(rgb) for _ in range(SETTLED_FRAMES)]
        engine.close()
        assert close_to(pending[-1].result(), pending[0].result())
    assert torch.cuda.memory_allocated() <= before + (32 << 20)
    assert not [thread for thread in threading.enumerate() if thread.name == "kernel search"]
