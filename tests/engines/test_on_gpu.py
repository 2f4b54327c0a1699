"""The CUDA engine on a real card: `make test-gpu`."""

from __future__ import annotations

import subprocess
import sys
import threading
import warnings
from collections.abc import Iterator
from pathlib import Path

import numpy as np
import pytest

from engines.base import RGB
from engines.errors import EngineError
from engines.style_file import StyleModel
from tests.conftest import ROOT
from tests.engines.test_cuda_engine import close_to
from tests.engines.test_golden import picture
from tests.engines.test_stream_pipeline import Made, still

with warnings.catch_warnings():
    warnings.simplefilter("ignore")  # a driver that is too old warns; here it means that there is none
    import torch

    THERE = torch.cuda.is_available()

pytestmark = [
    pytest.mark.gpu,
    pytest.mark.skipif(not THERE, reason="torch finds no CUDA device here"),
    pytest.mark.filterwarnings("ignore:Please use the new API settings"),
]

GALLERY = ROOT / "rtstyle" / "gallery"
STYLES = ("vangogh", "mosaic")
STRENGTHS = (0.0, 0.4, 1.0)


@pytest.fixture(scope="module")
def styles() -> list[StyleModel]:
    return [StyleModel.open(GALLERY / name) for name in STYLES]


@pytest.fixture(autouse=True)
def _the_card_is_given_back() -> Iterator[None]:
    from engines.cuda import shared_graphs

    yield
    assert not shared_graphs.pool.values()
    torch.cuda.synchronize()


def golden(style: StyleModel, rgb: RGB, strength: float = 1.0, colours: float = 0.0) -> RGB:
    from engines.torch_eager import EagerEngine

    return EagerEngine(style, device="cpu")(rgb, strength)


@pytest.mark.parametrize(
    "size", [(24, 24), (25, 39), (127, 129), (361, 639), (720, 1280), (1080, 1920)], ids=lambda size: f"{size[1]}"
)
@pytest.mark.parametrize("which", [0, 1], ids=STYLES)
def test_agrees_with_the_golden_picture(styles: list[StyleModel], which: int, size: tuple[int, int]) -> None:
    from engines.cuda.engine import CudaEngine

    engine, rgb = CudaEngine(styles[which]), picture(*size)
    for strength in STRENGTHS:
        assert close_to(engine(rgb, strength), golden(styles[which], rgb, strength))
    np.testing.assert_array_equal(engine(rgb, 0.0), rgb)
    engine.close()


@pytest.mark.filterwarnings("ignore")  # the compiler's own
def test_compiled_body_agrees_with_the_golden_picture(styles: list[StyleModel]) -> None:
    from engines.cuda.engine import CudaEngine

    engine = CudaEngine(styles[0], body="compile")
    for size in ((90, 160), (127, 129)):
        rgb = picture(*size)
        assert close_to(engine(rgb), golden(styles[0], rgb))
    engine.close()


@pytest.mark.filterwarnings("ignore")  # the compiler's own
def test_triton_body_agrees_with_the_golden_picture(styles: list[StyleModel]) -> None:
    pytest.importorskip("triton", reason="torch for CUDA brings it on Linux")
    from engines.cuda.engine import CudaEngine

    engines = [CudaEngine(style, body="triton") for style in styles]
    plain = CudaEngine(styles[0])
    for size in ((24, 24), (90, 160), (127, 129), (361, 639), (1080, 1920)):
        rgb = picture(*size)
        for engine, style in zip(engines, styles, strict=True):
            for strength in STRENGTHS:
                assert close_to(engine(rgb, strength), golden(style, rgb, strength))
            np.testing.assert_array_equal(engine(rgb, 0.0), rgb)
        # It rounds to fp16 less often than torch's kernels do.
        first = engines[0](rgb)
        off = np.abs(first.astype(int) - plain(rgb))
        assert off.max() <= 6 and (off <= 1).mean() >= 0.999
        np.testing.assert_array_equal(engines[0](rgb), first)
    for engine in (*engines, plain):
        engine.close()


def test_results_keep_their_order_and_their_memory(styles: list[StyleModel]) -> None:
    """Sixty frames of three sizes are under way before the first is asked for; the last is asked for first."""
    from engines.cuda.engine import CudaEngine

    engines = [CudaEngine(style) for style in styles]
    sizes = [(90, 160), (127, 129), (180, 320)]
    frames = [picture(*sizes[n % 3], seed=n) for n in range(60)]
    strengths = [STRENGTHS[n // 3 % 3] for n in range(60)]
    alone = [engines[n // 2 % 2](rgb, strengths[n]) for n, rgb in enumerate(frames)]
    pending = [engines[n // 2 % 2].submit(rgb, strengths[n]) for n, rgb in enumerate(frames)]
    results = {n: pending[n].result() for n in reversed(range(60))}
    for n, expected in enumerate(alone):
        np.testing.assert_array_equal(results[n], expected)
        results[n][:] = 255 - results[n]  # nobody else's
    for engine in engines:
        engine.close()
    for n, expected in enumerate(alone):
        np.testing.assert_array_equal(255 - results[n], expected)


def test_a_change_of_style_captures_nothing(styles: list[StyleModel], monkeypatch: pytest.MonkeyPatch) -> None:
    from engines.cuda import fp16
    from engines.cuda.engine import CudaEngine

    made: list[int] = []
    original = fp16.capture
    monkeypatch.setattr(fp16, "capture", lambda work, device: made.append(1) or original(work, device))
    rgb = picture(180, 320)
    engines = [CudaEngine(style) for style in styles]
    for _ in range(3):
        for engine, style in zip(engines, styles, strict=True):
            assert close_to(engine(rgb), golden(style, rgb))
    assert len(made) == 1
    for engine in engines:
        engine.close()


def test_10_000_frames_of_changing_sizes_styles_and_strengths_take_no_more_memory(styles: list[StyleModel]) -> None:
    """Every frame is as it was the first time, also after its size was forgotten and captured again."""
    from engines.cuda.engine import CudaEngine

    engines = [CudaEngine(style) for style in styles]
    core = engines[0]._graphs
    assert core is not None
    sizes = [(90, 160), (180, 320), (127, 129), (360, 640), (240, 426), (270, 480)]
    frames = [picture(*size) for size in sizes]
    first: dict[tuple[int, int, int], RGB] = {}
    used: list[tuple[int, int]] = []
    for n in range(10_000):
        # Another size every 40 frames, another style every 3, another strength every 5.
        which = n // 40 % 6, n // 3 % 2, n // 5 % 3
        result = engines[which[1]](frames[which[0]], STRENGTHS[which[2]])
        np.testing.assert_array_equal(result, first.setdefault(which, result))
        if n == 239:  # from now on half of the sizes fit, and each comes when it has just been forgotten
            core.pipeline._bytes_kept = sum(size.held for size in core.pipeline._compiled.values()) // 2
        if n % 240 == 239:  # all sizes once
            torch.cuda.synchronize()
            free, total = torch.cuda.mem_get_info()
            used.append((torch.cuda.memory_reserved(), total - free))
    assert len(core.pipeline.sizes) < len(sizes)
    early, late = used[len(used) // 4], used[-1]
    assert late[0] <= early[0] + (4 << 20), f"torch holds {late[0] - early[0]} bytes more"
    assert late[1] <= early[1] + (64 << 20), f"the process holds {late[1] - early[1]} bytes more"
    for engine in engines:
        engine.close()
    # The cores are gone, and nearly all that they held.
    torch.cuda.empty_cache()
    assert torch.cuda.memory_allocated() < 32 << 20


def test_out_of_memory_is_one_line_and_smaller_frames_are_painted(styles: list[StyleModel]) -> None:
    from engines.cuda.engine import CudaEngine

    engine, small = CudaEngine(styles[0]), picture(180, 320)
    expected = engine(small)
    total = torch.cuda.mem_get_info()[1]
    torch.cuda.set_per_process_memory_fraction((torch.cuda.memory_reserved() + (150 << 20)) / total)
    try:
        for _ in range(2):
            with pytest.raises(EngineError, match=r"too small for a frame of 4096×2304.*--height 1080") as caught:
                engine(picture(2304, 4096))
            assert "\n" not in str(caught.value)
            assert close_to(engine(small), expected)
    finally:
        torch.cuda.set_per_process_memory_fraction(1.0)
    large = picture(1080, 1920)
    assert close_to(engine(large), golden(styles[0], large))
    engine.close()


def test_frames_are_painted_while_other_threads_capture(styles: list[StyleModel], tiny_style: Path) -> None:
    """Two cores: one paints without a pause, the other captures one size after the other."""
    from engines.cuda.engine import CudaEngine

    painting, capturing = CudaEngine(styles[0]), CudaEngine(StyleModel.open(tiny_style))
    rgb, failed, stop = picture(180, 320), [], threading.Event()
    expected = painting(rgb)

    def paint() -> None:
        try:
            while not stop.is_set():
                pending = [painting.submit(rgb) for _ in range(3)]
                if any(not np.array_equal(one.result(), expected) for one in pending):
                    failed.append("another picture")
        except EngineError as error:
            failed.append(str(error))

    thread = threading.Thread(target=paint)
    thread.start()
    try:
        for side in range(64, 64 + 40, 2):
            wanted = picture(side, side)
            assert close_to(capturing(wanted), golden(StyleModel.open(tiny_style), wanted))
    finally:
        stop.set()
        thread.join()
    assert not failed
    painting.close()
    capturing.close()


def test_an_engine_that_paints_shares_no_stream_with_one_that_captures() -> None:
    """However many there were before: torch has 32 streams, and hands them out in turn."""
    from engines.cuda.graph_capture import streams
    from engines.cuda.stream_pipeline import StreamPipeline

    pipelines = [StreamPipeline(Made("cuda"), "cuda") for _ in range(40)]
    taken = {stream._stream.cuda_stream for pipeline in pipelines for stream in pipeline._streams if stream._stream}
    capture = streams(torch.device("cuda", torch.cuda.current_device())).capture
    assert len(taken) == 3 and capture.cuda_stream not in taken
    for pipeline in pipelines:
        pipeline.close()


def test_two_threads_share_one_core(styles: list[StyleModel]) -> None:
    from engines.cuda.engine import CudaEngine

    engines = [CudaEngine(style) for style in styles]
    frames = [picture(180, 320), picture(127, 129)]
    expected = [[engine(rgb) for rgb in frames] for engine in engines]
    wrong: list[tuple[int, int]] = []

    def paint(which: int) -> None:
        for n in range(300):
            if not np.array_equal(engines[which](frames[n % 2]), expected[which][n % 2]):
                wrong.append((which, n))

    threads = [threading.Thread(target=paint, args=(which,)) for which in (0, 1)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert not wrong
    for engine in engines:
        engine.close()


def test_waiting_lets_other_threads_run(styles: list[StyleModel]) -> None:
    from engines.cuda.engine import CudaEngine

    engine, rgb = CudaEngine(styles[0]), picture(1080, 1920)
    engine(rgb)
    with engine.pipeline.on_compute():
        torch.cuda._sleep(500_000_000)  # a quarter of a second; a fast card is through with frames before it is asked
    pending = engine.submit(rgb)
    counted, done = [0], threading.Event()

    def count() -> None:
        while not done.is_set():
            counted[0] += 1

    thread = threading.Thread(target=count)
    thread.start()
    before = counted[0]
    pending.result()
    during = counted[0] - before
    done.set()
    thread.join()
    assert during > 1000
    engine.close()


PAINTER = """
import sys
import numpy as np
from engines.cuda.engine import CudaEngine
from engines.style_file import StyleModel

engine = CudaEngine(StyleModel.open(sys.argv[1]))
rgb = np.load(sys.argv[2])
for _ in range(200):
    pending = [engine.submit(rgb) for _ in range(3)]
    results = [one.result() for one in pending]
assert all(np.array_equal(results[0], one) for one in results)
np.save(sys.argv[3], results[0])
engine.close()
"""


def test_two_processes_share_the_card(styles: list[StyleModel], tmp_path: Path) -> None:
    rgb = picture(360, 640)
    np.save(tmp_path / "frame.npy", rgb)
    folder, frame = str(styles[0].folder), str(tmp_path / "frame.npy")
    outputs = [tmp_path / f"{n}.npy" for n in range(2)]
    painters = [
        subprocess.Popen([sys.executable, "-c", PAINTER, folder, frame, str(output)], cwd=ROOT, stderr=subprocess.PIPE)
        for output in outputs
    ]
    for painter in painters:
        _, told = painter.communicate(timeout=300)
        assert painter.returncode == 0, told.decode()
    for output in outputs:
        assert close_to(np.load(output), golden(styles[0], rgb))


LOST = """
import sys
import numpy as np
import torch
from engines.cuda.engine import CudaEngine
from engines.errors import EngineError
from engines.style_file import StyleModel

engine, rgb = CudaEngine(StyleModel.open(sys.argv[1])), np.zeros((64, 64, 3), np.uint8)
engine(rgb)
kept = [engine(rgb) for _ in range(5)]
pending = engine.submit(rgb)
try:  # an index out of range stops the whole context: after it every call fails, as after a card that fell off
    torch.zeros(4, device="cuda")[torch.full((1,), 1 << 20, device="cuda")].cpu()
except RuntimeError:
    pass
faults = []
for size in (64, 64, 128):
    try:
        engine(np.zeros((size, size, 3), np.uint8))
    except EngineError as error:
        faults.append(str(error))
assert len(faults) == 3 and all("failed on a frame" in fault and "\\n" not in fault for fault in faults), faults
del kept, pending
engine.close()
engine.close()
print("told", flush=True)
"""


def test_a_lost_device_is_one_line(styles: list[StyleModel]) -> None:
    command = [sys.executable, "-c", LOST, str(styles[0].folder)]
    done = subprocess.run(command, cwd=ROOT, capture_output=True, text=True, timeout=300, check=False)
    assert (done.stdout.strip(), done.returncode) == ("told", 0), done.stderr


def test_any_body_overlaps() -> None:
    """What `engines.cuda.stream_pipeline` promises to every engine, with a body that adds one."""
    from engines.cuda.stream_pipeline import StreamPipeline

    made = Made("cuda")
    pipeline = StreamPipeline(made, "cuda")
    pending = [pipeline.submit(still(n, 64 + n % 2, 96), 1.0) for n in range(200)]
    for n in reversed(range(200)):
        np.testing.assert_array_equal(pending[n].result(), still(n + 1, 64 + n % 2, 96))
    assert made.sizes == [(64, 96), (65, 96)]
    pipeline.close()
    # Once more, with a bound under which each size takes the place of the one before.
    pipeline = StreamPipeline(made, "cuda", bytes_kept=1)
    for n in range(20):
        np.testing.assert_array_equal(
            pipeline.submit(still(n, 64 + n % 2, 96), 1.0).result(), still(n + 1, 64 + n % 2, 96)
        )
        assert len(pipeline.sizes) == 1
    pipeline.close()
