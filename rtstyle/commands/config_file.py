"""Settings in a TOML file: options of ``rtstyle webcam`` and ``rtstyle video``, checked all at once."""

from __future__ import annotations

import difflib
import tomllib
from collections.abc import Callable, Iterable, Mapping
from functools import partial
from pathlib import Path
from typing import Any, get_args, get_origin, get_type_hints

from typer.models import OptionInfo

from engines.errors import ConfigError, SettingsError
from engines.os_errors import reason
from rtstyle.commands.values import NumberParser, Parser

MAX_BYTES = 100_000
"""Larger files are refused: somebody gave a video by mistake."""

PER_RUN = frozenset(
    """config frames start end video-stream pipe-format container overwrite resume job-dir preview target-size no-audio
    midi-learn quiet json""".split()  # noqa: SIM905
)
"""Options that a file cannot set: they belong to one run."""

Reader = Callable[[object], Any]
"""Returns the value of a setting as its option takes it; raises ValueError, saying what was expected."""


def settings_of(*commands: Callable[..., object]) -> dict[str, Reader]:
    """Return the settings that a file may hold: the options of the commands, each with what reads its value."""
    settings: dict[str, Reader] = {}
    for command in commands:
        for name, hint in get_type_hints(command, include_extras=True).items():
            kind, *notes = get_args(hint) if hasattr(hint, "__metadata__") else [hint]
            option = next((note for note in notes if isinstance(note, OptionInfo)), None)
            key = _key(name, option)
            if option is not None and key not in PER_RUN:
                settings.setdefault(key, _reader(key, kind, option.parser))
    return settings


def read_config(path: Path, settings: Mapping[str, Reader]) -> dict[str, Any]:
    """Read a TOML file of ``settings``, see ``settings_of``, into values as the command line takes them.

    Raises:
        ConfigError: the file cannot be read, or is not valid TOML.
        SettingsError: a setting is unknown or wrong; all such errors, each with its key.
    """
    errors, values = list[ConfigError](), dict[str, Any]()
    for name, value in _table(path).items():
        key = name.replace("_", "-")
        if key not in settings:
            errors.append(ConfigError(f"{path}: unknown setting {name!r}", hint=_nearest(key, settings)))
            continue
        try:
            values[key] = settings[key](value)
        except ValueError as expected:
            told = repr(value)[:40] + ("…" if len(repr(value)) > 40 else "")
            errors.append(ConfigError(f"{path}: {name} must be {expected}, not {told}"))
    if errors:
        raise SettingsError(errors, hint=f"fix {path}")
    return values


def _key(name: str, option: OptionInfo | None) -> str:
    # typer keeps the first name of an option where a default would be.
    names = [option.default, *(option.param_decls or ())] if option is not None else []
    declared = next((text for text in names if isinstance(text, str) and text.startswith("--")), name)
    return declared.partition("/")[0].lstrip("-").replace("_", "-")


def _table(path: Path) -> dict[str, Any]:
    try:
        if path.stat().st_size > MAX_BYTES:
            raise ConfigError(f"{path} is too large for a file of settings", hint="give a TOML file with --config")
        return tomllib.loads(path.read_bytes().decode("utf-8-sig"))
    except OSError as error:
        raise ConfigError(f"cannot read {path}: {reason(error)}", hint="--config takes a TOML file") from error
    except (UnicodeDecodeError, tomllib.TOMLDecodeError, RecursionError) as error:
        raise ConfigError(f"{path} is not valid TOML: {error}", hint='write lines like: style = "wave"') from error


def _nearest(key: str, known: Iterable[str]) -> str:
    near = difflib.get_close_matches(key, known, n=1)
    return f"did you mean {near[0]}?" if near else f"settings: {', '.join(known)}"


def _reader(key: str, kind: Any, parser: Callable[[str], Any] | None) -> Reader:
    if isinstance(parser, Parser):
        return partial(_parsed, parser)
    if get_origin(kind) is list:
        return _texts
    if kind is bool:
        return _flag
    return _source if key == "source" else _text


def _parsed(parser: Parser[Any], value: object) -> Any:
    """Check a value as its option would; numbers stand in the file as they are, the rest in quotes."""
    is_number = isinstance(parser, NumberParser)
    kinds = int | float if is_number else int | float | str if parser.numbers_too else str
    try:
        if isinstance(value, bool) or not isinstance(value, kinds):
            raise ValueError(value)  # noqa: TRY004  # one kind of error for one kind of mistake
        number = parser.read(str(value))
    except ValueError:
        raise ValueError(parser.expected + ("" if is_number or parser.numbers_too else ", in quotes")) from None
    return number if is_number else str(value)


def _flag(value: object) -> bool:
    if value is True or value is False:
        return value
    raise ValueError("true or false")


def _text(value: object) -> str:
    if not isinstance(value, str) or not value:
        raise ValueError('text in quotes, like "wave"')
    return value


def _texts(value: object) -> list[str]:
    values: list[Any] = value if isinstance(value, list) else [value]
    if not values or not all(isinstance(one, str) and one for one in values):
        raise ValueError('text or a list of texts, like ["window", "virtual"]')
    return values


def _source(value: object) -> str:
    if isinstance(value, int) and not isinstance(value, bool) and value >= 0:
        return str(value)
    if not isinstance(value, str) or not value:
        raise ValueError('the number of a camera, or text in quotes, like "pattern"')
    return value
