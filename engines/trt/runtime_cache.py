"""The runtime cache of TensorRT for RTX: the kernels that it compiled for this card, kept beside the plan.

A plan of TensorRT for RTX holds kernels in a form that fits several cards. They are compiled for the card that is there
when an engine first runs; with a runtime cache, the next process need not do that again. The other TensorRT has none.
"""

from __future__ import annotations

import logging
from typing import Any

from engines.errors import EngineError
from engines.trt.plan_cache import PlanCache, PlanKey

logger = logging.getLogger(__name__)


class RuntimeCache:
    """The kernels of one plan. What cannot be read or written costs time, never a frame.

    Args:
        plans: the cache in which the plan is.
        key: of the plan. It names the card, the driver and TensorRT, on which the kernels depend as well.
    """

    def __init__(self, plans: PlanCache, key: PlanKey) -> None:
        self._plans, self._key = plans, key
        self._stored = b""
        self._live: Any = None

    def create_context(self, trt: Any, engine: Any) -> tuple[Any, object]:
        """Create an engine's context, which takes stored kernels and adds new ones.

        Returns: TensorRT's context, ``None`` if there is no memory for one, and what must outlive it.
        """
        self._stored, self._live = b"", None
        config: Any = engine.create_runtime_config() if hasattr(trt, "IRuntimeCache") else None
        live: Any = config.create_runtime_cache() if config is not None else None
        if live is None:
            return engine.create_execution_context(), None
        self._stored = self._plans.runtime_cache(self._key)
        if self._stored and not live.deserialize(self._stored):
            self.forget()
            live = config.create_runtime_cache()
        if config.set_runtime_cache(live):
            self._live = live
        return engine.create_execution_context(config), (config, live)

    def save(self) -> None:
        """Store the kernels if some were compiled since the context was created."""
        compiled = self._live.serialize() if self._live is not None else None
        data = bytes(memoryview(compiled)) if compiled is not None else b""
        if len(data) <= len(self._stored):  # kernels are only ever added
            return
        try:
            self._plans.put_runtime_cache(self._key, data)
        except EngineError as error:
            logger.debug("the runtime cache is not stored: %s", error.problem)
        else:
            self._stored = data

    def forget(self) -> bool:
        """Remove the stored kernels, and return True if the last context took any."""
        taken, self._stored = bool(self._stored), b""
        if taken:
            self._plans.remove_runtime_cache(self._key)
        return taken
