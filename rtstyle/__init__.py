"""Turn any camera, video or picture into a moving painting, in real time.

Importing this package loads no runtime; each name is loaded when it is first used.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from rtstyle.defaults import DEFAULT_STYLE

if TYPE_CHECKING:
    from engines.errors import ConfigError, EngineError, ShapeError, SinkError, SourceError, StyleError, StylerError
    from rtstyle.api import VideoSettings, load, styles, stylize_video, stylize_videos

__version__ = "0.1.0"

__all__ = [
    "DEFAULT_STYLE",
    "ConfigError",
    "EngineError",
    "ShapeError",
    "SinkError",
    "SourceError",
    "StyleError",
    "StylerError",
    "VideoSettings",
    "__version__",
    "load",
    "styles",
    "stylize_video",
    "stylize_videos",
]


def __getattr__(name: str) -> Any:
    if name not in __all__:
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
    from importlib import import_module

    value = getattr(import_module("engines.errors" if name.endswith("Error") else "rtstyle.api"), name)
    globals()[name] = value
    return value


def __dir__() -> list[str]:
    return sorted({*globals(), *__all__})
