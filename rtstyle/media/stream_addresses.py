"""Addresses of streams that go out: which there are."""

from __future__ import annotations

from urllib.parse import urlsplit

from engines.errors import SinkError
from rtstyle.media.urls import shown

FORMATS = {"rtmp": "flv", "rtmps": "flv", "udp": "mpegts", "srt": "mpegts"}
"""Scheme of the address → FFmpeg's name of what is sent there."""

OPTIONS = {
    "flv": {"flvflags": "no_duration_filesize"},
    "mpegts": {"flush_packets": "1"},
}
"""What each muxer is told: nothing waits to be sent together."""

WHIP = ("whip+http", "whip+https")
"""Schemes of WebRTC-HTTP ingestion, RFC 9725; what follows the plus is how the server is asked."""

EXAMPLES = "write rtmp://SERVER/APP/KEY, udp://HOST:PORT, srt://HOST:PORT or whip+https://TOKEN@HOST/PATH"


def is_whip(sink: str) -> bool:
    """True for the address of a WHIP server."""
    return sink.partition("://")[0] in WHIP


def check_stream(sink: str) -> None:
    """Refuse an address that nothing can be sent to.

    Raises:
        SinkError: unknown kind, or no host or port in it.
    """
    scheme = sink.partition("://")[0]
    if scheme not in (*FORMATS, *WHIP):
        raise SinkError(f"cannot send to {scheme}://", hint=EXAMPLES)
    try:
        parts = urlsplit(sink)
        host, port = parts.hostname, parts.port
    except ValueError:
        host, port = None, None
    if not host:
        raise SinkError(f"{shown(sink)} names no server", hint=EXAMPLES)
    if port is None and scheme in ("udp", "srt"):
        raise SinkError(f"{shown(sink)} names no port", hint=EXAMPLES)


def sent_to(sink: str) -> str:
    """The address as FFmpeg takes it: datagrams of whole packets of a transport stream."""
    if urlsplit(sink).scheme == "udp" and "pkt_size" not in sink:
        return f"{sink}{'&' if '?' in sink else '?'}pkt_size=1316"
    return sink
