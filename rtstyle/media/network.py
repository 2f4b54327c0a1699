"""Streams by URL: which ones there are, what FFmpeg is asked for, and what is shown of them."""

from __future__ import annotations

import ipaddress
from urllib.parse import SplitResult, urlsplit

from engines.errors import SourceError
from rtstyle.media.urls import shown

OPEN_TIMEOUT_S, READ_TIMEOUT_S = 10.0, 5.0
"""How long a stream may take to open, and for its next data."""

ANALYSE_S = 1.5
"""How long FFmpeg may look for all tracks. By itself it waits five seconds for promised sound that never comes."""

STORED = ("hls", "dash")
"""Formats that come in pieces, each faster than it is to be shown."""

_SCHEMES = ("rtsp", "rtsps", "rtmp", "rtmps", "udp", "rtp", "tcp", "http", "https")

_WITH_PORT = ("udp", "rtp", "tcp")
"""Protocols without a usual port."""


def check_url(url: str) -> None:
    """Refuse what cannot be opened, before anybody waits for it.

    Raises:
        SourceError: unknown protocol, no host, or no port where one is needed.
    """
    try:
        parts = urlsplit(url)
        port = parts.port
    except ValueError as error:
        raise SourceError(f"{shown(url)} is no URL", hint=str(error)) from error
    if parts.scheme == "file":
        return
    if parts.scheme not in _SCHEMES:
        raise SourceError(f"{parts.scheme or url}:// is not known here", hint=f"known are {', '.join(_SCHEMES)}")
    if not parts.hostname and not (parts.scheme == "udp" and port):
        raise SourceError(f"{shown(url)} names no host", hint="write it like rtsp://host/path")
    if parts.scheme in _WITH_PORT and not port:
        raise SourceError(f"{shown(url)} names no port", hint=f"write it like {parts.scheme}://host:1234")


def options(url: str, timeout_s: float) -> dict[str, str]:
    """What FFmpeg is told for a URL.

    Args:
        url: checked.
        timeout_s: longest wait for data, seconds.
    """
    parts = urlsplit(url)
    microseconds = str(round(timeout_s * 1e6))
    common = {"analyzeduration": str(round(ANALYSE_S * 1e6))}
    if parts.scheme in ("rtsp", "rtsps"):
        # Over UDP, which is the default, pictures break up on the first lost packet.
        return {**common, "rtsp_transport": "tcp", "timeout": microseconds, "fflags": "nobuffer"}
    if parts.scheme == "udp":
        # A receiver that was held up must lose pictures, not end.
        own = {"timeout": microseconds, "overrun_nonfatal": "1", "fflags": "nobuffer"}
        return {**common, **own, **_only_here(parts)}
    return {**common, "rw_timeout": microseconds}


def _only_here(parts: SplitResult) -> dict[str, str]:
    """FFmpeg listens on all networks, whatever the host; what is sent to this machine need not."""
    host = parts.hostname or ""
    host = "127.0.0.1" if host == "localhost" else host
    try:
        return {"localaddr": host} if ipaddress.ip_address(host).is_loopback else {}
    except ValueError:
        return {}
