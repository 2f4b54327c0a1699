"""The CUDA engine: fp16 on an NVIDIA GPU, one captured graph for each frame size, transfers that overlap."""

from __future__ import annotations

import warnings
from importlib import util
from threading import Lock
from typing import TYPE_CHECKING

from engines.base import (
    RGB,
    BaseEngine,
    EngineInfo,
    PendingFrame,
    StrengthMap,
    check_colours,
    check_rgb,
    check_size,
)
from engines.cuda import driver
from engines.errors import EngineError
from engines.strength_map import blend_pending, check_strength_for, graph_strength
from engines.style_file import StyleModel

if TYPE_CHECKING:
    from engines.cuda.shared_graphs import BodyName, Search, SharedGraphs
    from engines.cuda.stream_pipeline import StreamPipeline


class CudaEngine(BaseEngine):
    """Stylizes on an NVIDIA GPU; implements ``engines.base.PipelinedEngine``.

    Engines of one process whose styles have the same architecture share their graphs: a further style costs only its
    weights, and changing the style between two frames costs a copy of them. Thread-safe.

    Args:
        threads: CPU threads of torch, a setting of the whole process; ``None`` leaves it alone.
        device: ``cuda``, ``cuda:1`` …; ``cpu`` runs the same code slowly without a GPU, for tests.
        body: ``eager``, ``compile`` or ``triton``, see ``engines.cuda.shared_graphs.BodyName``.
        search: when cuDNN searches for the fastest kernels, ``first`` or ``later``, see
            ``engines.cuda.shared_graphs.Search``. ``later`` needs the body ``eager``; others ignore it.

    Raises:
        EngineError: torch is missing or has no CUDA, there is no GPU, or Triton is missing for a body that needs it;
            the hint says what to install.
    """

    def __init__(
        self,
        style: StyleModel,
        threads: int | None = None,
        *,
        device: str = "cuda",
        body: BodyName = "eager",
        search: Search = "first",
    ) -> None:
        super().__init__(threads)
        require(device)
        if body == "triton" and util.find_spec("triton") is None:
            raise EngineError(
                "the Triton kernels need the package triton",
                hint='torch for CUDA installs it on Linux; the body "eager" gives the same result without it',
            )
        import torch

        from engines.cuda.shared_graphs import GraphKey, SharedGraphs, pool
        from engines.model.generator import Arch

        if threads is not None:
            torch.set_num_threads(threads)
        self._key = GraphKey(Arch.from_dict(dict(style.arch)), device, body, search if body == "eager" else "first")
        self._lock = Lock()
        self._graphs: SharedGraphs | None = None
        try:
            self._graphs = pool.borrow(self._key, lambda: SharedGraphs(self._key))
            self._style, self._colours = style, 0.0
            self._weights = self._graphs.upload(style)
        except BaseException as error:
            if self._graphs is not None:
                pool.give_back(self._key)
            if isinstance(error, RuntimeError):
                raise EngineError(f"torch cannot use {device}: {str(error).splitlines()[0]}") from error
            raise
        self.info = EngineInfo(
            name="cuda",
            runtime=f"torch {torch.__version__}",
            device="cpu" if device == "cpu" else str(torch.cuda.get_device_name(device)),
            precision="fp16",
            style=style.name,
        )

    @property
    def search(self) -> Search:
        """When cuDNN searches for the fastest kernels."""
        return self._key.search

    @property
    def pipeline(self) -> StreamPipeline:
        """The pipeline that the frames go through, for measurements."""
        return self._open().pipeline

    def submit(self, rgb: RGB, strength: float | StrengthMap = 1.0, colours: float = 0.0) -> PendingFrame:
        """Start on one frame; see ``engines.base.PipelinedEngine``.

        If the memory is too small for this size, the engine still stylizes smaller frames.
        """
        check_rgb(rgb)
        check_strength_for(rgb, strength)
        check_colours(colours)
        graphs = self._open()
        with self._lock:
            if colours != self._colours:
                self._weights, self._colours = graphs.upload(self._style, colours), colours
            weights = self._weights
        return blend_pending(graphs.submit(rgb, graph_strength(strength), weights), rgb, strength)

    def __call__(self, rgb: RGB, strength: float | StrengthMap = 1.0, colours: float = 0.0) -> RGB:
        """Stylize one frame; see ``submit``."""
        return self.submit(rgb, strength, colours).result()

    def prepare(self, height: int, width: int) -> None:
        """See ``engines.base.SharedGraphEngine``."""
        check_size(height, width)
        self._open().pipeline.prepare(height, width)

    def fork(self) -> CudaEngine:
        """See ``engines.base.ForkableEngine``."""
        return type(self)(self._style, device=self._key.device, body=self._key.body, search=self._key.search)

    def take_style(self, style: StyleModel) -> None:
        """See ``engines.base.RestylableEngine``."""
        graphs = self._open()
        with self._lock:
            self._weights = graphs.upload(style, self._colours)
            self._style = style

    def close(self) -> None:
        """Free the style; the last engine of an architecture also frees its graphs."""
        from engines.cuda.shared_graphs import pool

        with self._lock:
            graphs, self._graphs = self._graphs, None
        if graphs is not None:
            pool.give_back(self._key)

    def _open(self) -> SharedGraphs:
        with self._lock:
            if self._graphs is None:
                raise EngineError("the engine is closed")
            return self._graphs


def require(device: str = "cuda") -> None:
    """Raise EngineError, with a hint what to install, unless torch can use a device. Quick without a GPU."""
    if device == "cpu":
        return
    driver.check("cuda")
    import torch

    if torch.version.cuda is None:  # such a build does not always say so in its version
        raise driver.torch_without_cuda("cuda", torch.__version__)
    with warnings.catch_warnings(record=True) as caught:
        warnings.simplefilter("always")
        usable = torch.cuda.is_available()
    if not usable:
        cause = str(caught[-1].message).splitlines()[0] if caught else "the driver does not start"
        raise EngineError(f"torch cannot use the NVIDIA GPU: {cause}", hint="check the driver with nvidia-smi")
