"""What the operating system says when it refuses something, in words, and what helps."""

from __future__ import annotations

import errno
import os

_FREE_SPACE = "free some space, or use another disk"
_NETWORK = "check the address, the network and a firewall"

_KNOWN: dict[str, tuple[str, str]] = {
    "EACCES": ("permission denied", "change its permissions, or use another file or folder"),
    "EPERM": ("permission denied", "change its permissions, or use another file or folder"),
    "EROFS": ("the file system is read-only", "use a folder on a disk that can be written"),
    "ENOSPC": ("the disk is full", _FREE_SPACE),
    "EDQUOT": ("your disk quota is used up", _FREE_SPACE),
    "EFBIG": ("the file has reached the size limit of this system", "use another disk, or see ulimit -f"),
    "ENAMETOOLONG": ("the name is too long", "give a shorter name"),
    "ENOENT": ("no such file or folder", "check the name, and create the folder first"),
    "ENOTDIR": ("a part of the path is a file", "check the path"),
    "EISDIR": ("it is a folder", "give the name of a file"),
    "EEXIST": ("it exists already", "give another name"),
    "ELOOP": ("its symbolic links lead in a circle", "give the path of the file itself"),
    "EMFILE": ("too many files are open", "raise the limit, for example with: ulimit -n 4096"),
    "ENFILE": ("too many files are open on this machine", "close other programs"),
    "ENOMEM": ("the memory is full", "close other programs"),
    "EAGAIN": ("the system has no room for it now", "close other programs, and try again"),
    "EIO": ("the disk or device reports an error", "check it and its cable; dmesg may tell more"),
    "EBUSY": ("another program uses it", "close that program"),
    "ETXTBSY": ("another program uses it", "close that program"),
    "ENODEV": ("the device is gone", "plug it in again"),
    "ENXIO": ("the device is gone", "plug it in again"),
    "ESTALE": ("the network drive has lost it", "mount the drive again"),
    "EADDRINUSE": ("another program listens there", "end that program, or give another port"),
    "EADDRNOTAVAIL": ("this machine has no such address", "give one of its own addresses, or 127.0.0.1"),
    "ECONNREFUSED": ("nobody answers there", _NETWORK),
    "ECONNRESET": ("the other side has closed the connection", "try again"),
    "EPIPE": ("the other side has closed the connection", "try again"),
    "EHOSTUNREACH": ("the machine cannot be reached", _NETWORK),
    "ENETUNREACH": ("the network cannot be reached", _NETWORK),
    "ETIMEDOUT": ("there was no answer in time", _NETWORK),
}
_BY_NUMBER = {getattr(errno, name): words for name, words in _KNOWN.items() if hasattr(errno, name)}

LOWEST_FREE_PORT = 1024
"""Ports below belong to the system on most machines."""


def reason(error: BaseException) -> str:
    """Return why the system refused, in a few words; in its own for what is not known here."""
    number = getattr(error, "errno", None)
    if number in _BY_NUMBER:
        return _BY_NUMBER[number][0]
    return str(getattr(error, "strerror", None) or str(error) or type(error).__name__).rstrip(".")


def advice(error: BaseException, otherwise: str = "") -> str:
    """Return what helps, or ``otherwise`` where nothing is known here."""
    number = getattr(error, "errno", None)
    return _BY_NUMBER[number][1] if number in _BY_NUMBER else otherwise


def is_known(error: BaseException) -> bool:
    """Return True for an error of which this module knows what helps."""
    return getattr(error, "errno", None) in _BY_NUMBER


def listen_advice(error: OSError, port: int) -> str:
    """Return what helps where a port cannot be listened on."""
    if error.errno in (errno.EACCES, errno.EPERM) and port < LOWEST_FREE_PORT:
        return f"ports below {LOWEST_FREE_PORT} belong to the system; give a larger one, for example 8765"
    return advice(error, "give another address or port")


def at(error: OSError, path: str | os.PathLike[str]) -> str:
    """Return the file or folder that the system names, or ``path`` if it names none."""
    return os.fspath(error.filename) if isinstance(error.filename, str) and error.filename else os.fspath(path)
