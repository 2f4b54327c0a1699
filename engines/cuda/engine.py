"""The CUDA engine: fp16 on an NVIDIA card, one captured graph for each frame size, transfers that overlap."""

from __future__ import annotations

import warnings
from importlib import util
from threading import Lock
from typing import TYPE_CHECKING

from engines.base import RGB, EngineInfo, Pending, check_rgb, check_size, check_strength
from engines.cuda import driver
from engines.errors import EngineError
from engines.style_file import StyleModel

if TYPE_CHECKING:
    from engines.cuda.fp16 import BodyName, Core
    from engines.cuda.stream_pipeline import Overlap


class CudaEngine:
    """Stylizes on an NVIDIA card; see ``engines.base.OverlappedEngine`` for the promises.

    Engines of one process whose styles have the same shape share their graphs, so that a further style costs its
    weights only, and a change of style between two frames costs a copy of them. Several threads may call.

    Args:
        style: a verified style.
        threads: for what little the CPU does; torch has one such setting for the whole process, ``None`` leaves it.
        device: ``cuda``, or ``cuda:1`` and so on; ``cpu`` runs the same code without a card, slowly, for tests.
        body: ``eager``, ``compile`` or ``triton``, see ``engines.cuda.fp16.BodyName``.

    Raises:
        EngineError: torch is missing or has no CUDA, there is no card, or Triton is missing for a body that needs it;
            the hint tells what to install.
        StyleError: the weights do not fit the generator.
    """

    def __init__(
        self,
        style: StyleModel,
        threads: int | None = None,
        *,
        device: str = "cuda",
        body: BodyName = "eager",
    ) -> None:
        if threads is not None and threads < 1:
            raise EngineError(f"cannot run on {threads} threads", hint="give 1 or more")
        require(device)
        if body == "triton" and util.find_spec("triton") is None:
            raise EngineError(
                "the ends of the graph in Triton need triton",
                hint='torch for CUDA brings it on Linux; the body "eager" paints the same without it',
            )
        import torch

        from engines.cuda.fp16 import Shape, borrow, give_back
        from engines.model.generator import Arch

        if threads is not None:
            torch.set_num_threads(threads)
        self._shape = Shape(Arch.from_dict(dict(style.arch)), device, body)
        self._lock = Lock()
        self._core: Core | None = None
        try:
            self._core = borrow(self._shape)
            self._weights = self._core.weights(style)
        except BaseException as error:
            if self._core is not None:
                give_back(self._shape)
            if isinstance(error, RuntimeError):
                raise EngineError(f"torch cannot use {device}: {str(error).splitlines()[0]}") from error
            raise
        self._info = EngineInfo(
            name="cuda",
            runtime=f"torch {torch.__version__}",
            device="cpu" if device == "cpu" else str(torch.cuda.get_device_name(device)),
            precision="fp16",
            style=style.name,
        )

    @property
    def info(self) -> EngineInfo:
        """What this engine is."""
        return self._info

    @property
    def overlap(self) -> Overlap:
        """The way of the frames, for measurements.

        Raises:
            EngineError: the engine is closed.
        """
        return self._open().overlap

    def submit(self, rgb: RGB, strength: float = 1.0) -> Pending:
        """Begin with one frame; see ``engines.base.OverlappedEngine``.

        Raises:
            ShapeError: not an RGB picture, or outside the size limits; strength outside 0…1.
            EngineError: the engine is closed, the card failed, or its memory is too small for this size; then the
                engine still paints smaller frames.
        """
        check_rgb(rgb)
        check_strength(strength)
        return self._open().submit(rgb, strength, self._weights)

    def __call__(self, rgb: RGB, strength: float = 1.0) -> RGB:
        """Stylize one frame; see ``submit``."""
        return self.submit(rgb, strength).result()

    def prepare(self, height: int, width: int) -> None:
        """See ``engines.base.SharingEngine``."""
        check_size(height, width)
        self._open().overlap.prepare(height, width)

    def close(self) -> None:
        """Free the style; the last engine of a shape frees its graphs, too."""
        from engines.cuda.fp16 import give_back

        with self._lock:
            core, self._core = self._core, None
        if core is not None:
            give_back(self._shape)

    def _open(self) -> Core:
        with self._lock:
            if self._core is None:
                raise EngineError("the engine is closed")
            return self._core


def require(device: str = "cuda") -> None:
    """Refuse a device that torch cannot use here; without a card this is quick.

    Raises:
        EngineError: the hint tells what to install, where anything helps.
    """
    if device == "cpu":
        return
    driver.check("cuda")
    import torch

    if torch.version.cuda is None:  # such a build does not always say so in its version
        raise driver.built_without_cuda("cuda", torch.__version__)
    with warnings.catch_warnings(record=True) as told:
        warnings.simplefilter("always")
        usable = torch.cuda.is_available()
    if not usable:
        cause = str(told[-1].message).splitlines()[0] if told else "the driver does not start"
        raise EngineError(f"torch cannot use the NVIDIA card: {cause}", hint="nvidia-smi tells whether the driver runs")
