"""Styles from the network: a pack at an address, or the files of a repository of the Hugging Face Hub.

Nothing is kept unless it arrives completely and within the limits of ``rtstyle.shelf``.

Source: file addresses of the Hub, https://huggingface.co/docs/hub/models-downloading; ``HF_ENDPOINT`` and ``HF_TOKEN``,
https://huggingface.co/docs/huggingface_hub/package_reference/environment_variables.
"""

from __future__ import annotations

import hashlib
import http.client
import os
import re
import urllib.error
import urllib.request
from collections.abc import Callable
from urllib.parse import quote

from engines.errors import StyleError
from engines.os_errors import reason
from rtstyle.shelf import LIMIT, NEEDED, PARTS, scratch_folder, unpack

HUB = "hf://"
"""Start of the address of a repository: hf://OWNER/NAME or hf://OWNER/NAME@REVISION."""

TIMEOUT_S = 20.0
"""Longest silence of a server, seconds."""

BLOCK = 1 << 16

_REPOSITORY = re.compile(r"hf://([\w.-]+)/([\w.-]+)(?:@([\w./-]+))?")

OnBytes = Callable[[int, int | None], None]
"""Called with the bytes that have arrived, and their number if it is known."""


def is_address(source: str) -> bool:
    """Return True if a style is to be downloaded."""
    return source.startswith((HUB, "https://", "http://"))


def download(source: str, on_bytes: OnBytes, sha256: str = "") -> dict[str, bytes]:
    """Download the files of a style, by name.

    Args:
        source: see ``is_address``.
        on_bytes: shows the progress.
        sha256: expected of the pack; not possible for a repository.

    Raises:
        StyleError: the address is wrong, or what it gives is no style, is too large, or arrives incomplete.
    """
    if source.startswith(HUB):
        if sha256:
            raise StyleError("--sha256 is that of a pack; a repository has several files", hint="omit it")
        return _repository(source, on_bytes)
    data = _get(source, on_bytes)
    if sha256 and hashlib.sha256(data).hexdigest() != sha256.lower():
        raise StyleError(f"{source} has another sha256 than you gave", hint="do not use it; ask where it comes from")
    with scratch_folder() as scratch:
        file = scratch / "downloaded pack"
        file.write_bytes(data)
        try:
            return unpack(file)
        except StyleError as error:
            raise StyleError(error.problem.replace(str(file), source), hint=error.hint) from error


def _repository(source: str, on_bytes: OnBytes) -> dict[str, bytes]:
    match = _REPOSITORY.fullmatch(source)
    if match is None:
        raise StyleError(f"{source} is not the address of a repository", hint="write hf://OWNER/NAME")
    owner, name, revision = match.groups()
    found: dict[str, bytes] = {}
    for part in PARTS:
        before = sum(len(data) for data in found.values())
        try:
            url = f"{_hub()}/{owner}/{name}/resolve/{quote(revision or 'main', safe='')}/{part}"
            found[part] = _get(url, on_bytes, before)
        except _MissingError:
            if part in NEEDED:
                raise StyleError(f"{source} has no {part}", hint="is it a style of rtstyle?") from None
    return found


class _MissingError(StyleError):
    """There is nothing at an address."""


def _get(url: str, on_bytes: OnBytes, before: int = 0) -> bytes:
    """Return what is at an address; ``before`` bytes of the style have arrived already."""
    request = urllib.request.Request(url, headers={"User-Agent": "rtstyle"})  # noqa: S310  # http(s), see is_address
    if token := _token(url):
        request.add_unredirected_header("Authorization", f"Bearer {token}")
    try:
        with urllib.request.urlopen(request, timeout=TIMEOUT_S) as answer:  # noqa: S310
            data = bytearray()
            while block := answer.read(BLOCK):
                data += block
                if before + len(data) > LIMIT:
                    problem = f"{url} sends more than {LIMIT >> 20} MB, which no style has"
                    raise StyleError(problem, hint="is it the address of a style?")
                on_bytes(before + len(data), None if answer.length is None else before + len(data) + answer.length)
            if answer.length:  # what is still missing
                raise StyleError(f"{url} stopped {answer.length} bytes before the end", hint="try again")
    except (OSError, http.client.HTTPException, ValueError) as error:
        raise _failed(url, error) from error
    return bytes(data)


def _failed(url: str, error: Exception) -> StyleError:
    """Return what to say of a download that failed."""
    if isinstance(error, urllib.error.HTTPError):
        error.close()  # it holds the connection
        if error.code == http.HTTPStatus.NOT_FOUND:
            return _MissingError(f"there is nothing at {url}", hint="check the address")
        return StyleError(f"{url} answers {error.code} {error.reason}", hint=_refusal(error.code))
    if isinstance(error, http.client.IncompleteRead):
        return StyleError(f"{url} stopped before the end", hint="try again")
    cause = error.reason if isinstance(error, urllib.error.URLError) else error
    if isinstance(cause, TimeoutError):
        return StyleError(f"{url} sent nothing for {TIMEOUT_S:.0f} s", hint="try again later")
    why = reason(cause) if isinstance(cause, OSError) else cause
    return StyleError(f"cannot download {url}: {why}", hint="check the address and the connection")


def _token(url: str) -> str:
    """Return the user's token if the address is the Hub's: nobody else may see it."""
    return os.environ.get("HF_TOKEN", "").strip() if url.startswith(f"{_hub()}/") else ""


def _hub() -> str:
    return (os.environ.get("HF_ENDPOINT") or "https://huggingface.co").rstrip("/")


def _refusal(code: int) -> str:
    if code in (http.HTTPStatus.UNAUTHORIZED, http.HTTPStatus.FORBIDDEN):
        return "a private repository needs the environment variable HF_TOKEN"
    return "try again later"
