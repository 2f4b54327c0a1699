"""Network addresses of sources and sinks, as they may be shown."""

from __future__ import annotations

from urllib.parse import urlsplit


def is_url(text: str) -> bool:
    """True for ``rtsp://…`` and the like, False for file names."""
    return "://" in text


def shown(text: str) -> str:
    """An address for people and logs: without user, password, token and stream key. Other texts stay as they are.

    Keys are found behind the first part of a path, and in the query.
    """
    if not is_url(text):
        return text
    scheme, _, rest = text.partition("://")
    try:
        parts = urlsplit(text)
    except ValueError:  # no address at all, so nobody knows what in it is secret
        return f"{scheme}://…"
    host = parts.netloc.rpartition("@")[2]
    if "@" in parts.path:  # a slash in a password: what looks like the host is part of it
        return f"{scheme}://…"
    first, _, rest = parts.path.lstrip("/").partition("/")
    hidden = "/…" if rest or parts.query else ""
    return f"{scheme}://{host}{'/' if first else ''}{first}{hidden}"
