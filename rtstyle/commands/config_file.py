"""A file with what somebody would not type twice: options of the command line, in TOML, checked all at once."""

from __future__ import annotations

import math
import tomllib
from collections.abc import Callable
from pathlib import Path
from typing import Any

from engines.errors import ConfigError, SettingsError

MOST_BYTES = 100_000
"""Nobody writes more settings than that; a film that was given by mistake is not read."""


class _WrongError(ValueError):
    """What a value should have been."""


def _text(value: object) -> str:
    if not isinstance(value, str) or not value:
        raise _WrongError('a text in quotes, like "wave"')
    return value


def _texts(value: object) -> list[str]:
    if isinstance(value, str) and value:
        return [value]
    if not isinstance(value, list) or not value or not all(isinstance(one, str) and one for one in value):
        raise _WrongError('a text or a list of texts, like ["window", "virtual"]')
    return value


def _source(value: object) -> str:
    if isinstance(value, int) and not isinstance(value, bool) and value >= 0:
        return str(value)
    try:
        return _text(value)
    except _WrongError:
        raise _WrongError('the number of a camera, or a text in quotes, like "pattern"') from None


def _flag(value: object) -> bool:
    if not isinstance(value, bool):
        raise _WrongError("true or false")
    return value


def _number(least: float, most: float) -> Callable[[object], float]:
    def check(value: object) -> float:
        number = value if isinstance(value, int | float) and not isinstance(value, bool) else math.nan
        if not least <= number <= most:
            raise _WrongError(f"a number from {least:g} to {most:g}")
        return float(number)

    return check


def _whole(least: int) -> Callable[[object], int]:
    def check(value: object) -> int:
        if not isinstance(value, int) or isinstance(value, bool) or value < least:
            raise _WrongError(f"a whole number of at least {least}")
        return value

    return check


def _size(value: object) -> str:
    import typer

    from rtstyle.commands.options import parse_size

    try:
        parse_size(_text(value))
    except (_WrongError, typer.BadParameter):
        raise _WrongError('a size in quotes, like "1280x720"') from None
    return str(value)


KEYS: dict[str, Callable[[object], Any]] = {
    "style": _text,
    "source": _source,
    "sink": _texts,
    "size": _size,
    "fps": _number(0.01, 1000),
    "loop": _flag,
    "reconnect": _flag,
    "mirror": _flag,
    "strength": _number(0, 1),
    "scale": _number(0.5, 2),
    "engine": _text,
    "threads": _whole(1),
    "bitrate": _whole(100),
    "control": _text,
    "control-token": _text,
    "height": _whole(16),
    "codec": _text,
    "crf": _whole(0),
    "preset": _text,
}
"""Option without its dashes → what checks its value, and gives it as the command line takes it. A command leaves out
what only others have."""


def read_config(path: Path) -> dict[str, Any]:
    """Read and check a file of settings.

    Returns:
        option → value, as the command line takes it.

    Raises:
        ConfigError: it cannot be read, or is no TOML. SettingsError: all that is wrong in it, each with its key.
    """
    faults, settings = list[ConfigError](), dict[str, Any]()
    for name, value in _table(path).items():
        key = name.replace("_", "-")
        if key not in KEYS:
            faults.append(ConfigError(f"{path}: there is no setting {name!r}", hint=_nearest(key)))
            continue
        try:
            settings[key] = KEYS[key](value)
        except _WrongError as wrong:
            faults.append(ConfigError(f"{path}: {name} must be {wrong}, not {_shown(value)}"))
    if faults:
        raise SettingsError(faults, hint=f"mend {path}")
    return settings


def _table(path: Path) -> dict[str, Any]:
    try:
        if path.stat().st_size > MOST_BYTES:
            raise ConfigError(f"{path} is too large for a file of settings", hint="give a TOML file with --config")
        return tomllib.loads(path.read_bytes().decode("utf-8-sig"))
    except OSError as error:
        raise ConfigError(f"cannot read {path}: {error.strerror}", hint="--config takes a TOML file") from error
    except (UnicodeDecodeError, tomllib.TOMLDecodeError, RecursionError) as error:
        raise ConfigError(f"{path} is no TOML: {error}", hint='write lines like: style = "wave"') from error


def _nearest(key: str) -> str:
    import difflib

    near = difflib.get_close_matches(key, KEYS, n=1)
    return f"did you mean {near[0]}?" if near else f"there are: {', '.join(KEYS)}"


def _shown(value: object) -> str:
    text = repr(value)
    return text if len(text) <= 40 else f"{text[:39]}…"
