"""URLs of streams to read and to send: which ones are supported, FFmpeg's options for them, and what logs may show."""

from __future__ import annotations

import ipaddress
from urllib.parse import SplitResult, urlsplit

from engines.errors import SinkError, SourceError

OPEN_TIMEOUT_S, READ_TIMEOUT_S = 10.0, 5.0
"""Longest wait for a stream to open, and for its next data, seconds."""

ANALYSE_S = 1.5
"""How long FFmpeg may look for tracks. Its default waits five seconds for announced audio that never comes."""

SEGMENTED = ("hls", "dash")
"""Formats that arrive in pieces, each faster than real time."""

INPUT_SCHEMES = ("rtsp", "rtsps", "rtmp", "rtmps", "udp", "rtp", "tcp", "http", "https")

_PORT_REQUIRED = ("udp", "rtp", "tcp")

MUXERS = {"rtmp": "flv", "rtmps": "flv", "udp": "mpegts", "srt": "mpegts"}
"""Scheme of an output URL → FFmpeg's muxer."""

MUXER_OPTIONS = {
    "flv": {"flvflags": "no_duration_filesize"},
    "mpegts": {"flush_packets": "1", "pes_payload_size": "0"},
}
"""Muxer → its options for low delay: no packet waits for another."""

WHIP = ("whip+http", "whip+https")
"""Schemes of WebRTC-HTTP ingestion (WHIP, RFC 9725). The part after the plus is the protocol of the request."""

OUTPUT_EXAMPLES = "write rtmp://SERVER/APP/KEY, udp://HOST:PORT, srt://HOST:PORT or whip+https://TOKEN@HOST/PATH"


def is_url(text: str) -> bool:
    """Return True for ``rtsp://…`` and the like, False for file names."""
    return "://" in text


def is_whip(url: str) -> bool:
    """Return True for the URL of a WHIP server."""
    return url.partition("://")[0] in WHIP


def redact(text: str) -> str:
    """Return a URL without user, password, token and stream key, for people and logs.

    Everything after the first part of the path, and the query, may hold a key and becomes ``/…``. Text that is not a
    URL stays as it is.
    """
    if not is_url(text):
        return text
    scheme, _, rest = text.partition("://")
    try:
        parts = urlsplit(text)
    except ValueError:  # malformed, so any part of it may be secret
        return f"{scheme}://…"
    host = parts.netloc.rpartition("@")[2]
    if "@" in parts.path:  # a password with a slash: what parses as the host is part of the password
        return f"{scheme}://…"
    first, _, rest = parts.path.lstrip("/").partition("/")
    hidden = "/…" if rest or parts.query else ""
    return f"{scheme}://{host}{'/' if first else ''}{first}{hidden}"


def check_input_url(url: str) -> None:
    """Reject a URL that cannot be read, before anything waits for it.

    Raises:
        SourceError: unknown protocol, no host, or no port where one is required.
    """
    try:
        parts = urlsplit(url)
        port = parts.port
    except ValueError as error:
        problem = f"{redact(url)} is not a valid URL: {error}"
        raise SourceError(problem, hint="write it like rtsp://camera.local:554/live") from error
    if parts.scheme == "file":
        return
    if parts.scheme not in INPUT_SCHEMES:
        raise SourceError(f"{parts.scheme or url}:// is not supported", hint=f"use one of {', '.join(INPUT_SCHEMES)}")
    if not parts.hostname and not (parts.scheme == "udp" and port):
        raise SourceError(f"{redact(url)} has no host", hint="write it like rtsp://host/path")
    if parts.scheme in _PORT_REQUIRED and not port:
        raise SourceError(f"{redact(url)} has no port", hint=f"write it like {parts.scheme}://host:1234")


def check_output_url(url: str) -> None:
    """Reject a URL that no stream can be sent to.

    Raises:
        SinkError: unknown protocol, no host, or no port where one is required.
    """
    scheme = url.partition("://")[0]
    if scheme not in (*MUXERS, *WHIP):
        raise SinkError(f"cannot send to {scheme}://", hint=OUTPUT_EXAMPLES)
    try:
        parts = urlsplit(url)
        host, port = parts.hostname, parts.port
    except ValueError:
        host, port = None, None
    if not host:
        raise SinkError(f"{redact(url)} has no host", hint=OUTPUT_EXAMPLES)
    if port is None and scheme in ("udp", "srt"):
        raise SinkError(f"{redact(url)} has no port", hint=OUTPUT_EXAMPLES)


def input_options(url: str, timeout_s: float) -> dict[str, str]:
    """Return FFmpeg's options for reading a valid URL.

    Args:
        url: as ``check_input_url`` accepts it.
        timeout_s: longest wait for data, seconds.
    """
    parts = urlsplit(url)
    microseconds = str(round(timeout_s * 1e6))
    common = {"analyzeduration": str(round(ANALYSE_S * 1e6))}
    if parts.scheme in ("rtsp", "rtsps"):
        # Over UDP, the default, pictures break up with the first lost packet.
        return {**common, "rtsp_transport": "tcp", "timeout": microseconds, "fflags": "nobuffer"}
    if parts.scheme == "udp":
        # A receiver that falls behind must drop data instead of ending.
        udp = {"timeout": microseconds, "overrun_nonfatal": "1", "fflags": "nobuffer"}
        return {**common, **udp, **_loopback_only(parts)}
    return {**common, "rw_timeout": microseconds}


def muxer_url(url: str) -> str:
    """Return an output URL as FFmpeg takes it: UDP datagrams hold whole packets of the transport stream."""
    if urlsplit(url).scheme == "udp" and "pkt_size" not in url:
        return f"{url}{'&' if '?' in url else '?'}pkt_size=1316"
    return url


def _loopback_only(parts: SplitResult) -> dict[str, str]:
    """Listen on this machine alone for a loopback host; FFmpeg would listen on all interfaces."""
    host = parts.hostname or ""
    host = "127.0.0.1" if host == "localhost" else host
    try:
        return {"localaddr": host} if ipaddress.ip_address(host).is_loopback else {}
    except ValueError:
        return {}
