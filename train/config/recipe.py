"""Recipes: TOML files with settings of a run, below overrides and options; all errors are reported at once.

A recipe has the sections of ``TrainConfig``, each with some of its settings. ``[given.clips.motion]`` holds
settings of the section ``motion`` that apply only if the run is given clips; see ``GIVEN``.

A trained style is also a recipe: its record holds all settings, and the same data trains it again.
"""

from __future__ import annotations

import difflib
import json
import os
import re
import tomllib
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import MISSING, dataclass, fields
from pathlib import Path
from types import NoneType
from typing import Any, Literal, get_args, get_origin, get_type_hints

from engines.errors import ConfigError, StyleError
from engines.style_file import StyleModel
from rtstyle import style_library
from train.config.error_list import ErrorList
from train.config.schema import TrainConfig

RECIPES = Path(__file__).parent.parent / "recipes"
"""The recipes that come with rtstyle."""

GIVEN = {"clips": ("data", "clips"), "style_pictures": ("data", "style_pictures"), "init": ("generator", "init")}
"""Names under ``[given.…]``, and the setting that each one depends on."""

LOCAL_SETTINGS = {
    "data": ("style_picture", "style_pictures", "content", "clips", "features"),
    "run": ("out", "threads", "recipe"),
}
"""Settings of a style's record that are file names, or depend on the machine, by section."""

SECTIONS: dict[str, Any] = get_type_hints(TrainConfig)
KINDS: dict[str, dict[str, Any]] = {section: get_type_hints(kind) for section, kind in SECTIONS.items()}
"""Type of every setting, by section and name."""

UNSET = Path("\0")
"""Placeholder of a path that may still be given; no file can have this name."""

WORDS = {int: "a whole number", float: "a number", bool: "true or false", str: "text", Path: "a path"}

Values = dict[str, dict[str, Any]]
"""Settings by section and name."""


def recipes() -> dict[str, str]:
    """Return the names of the recipes that come with rtstyle, quickest first, and their first lines."""
    found = {path.stem: path.read_text("utf-8").partition("\n")[0].lstrip("# ") for path in RECIPES.glob("*.toml")}
    order = ("fast", "default", "best")
    return dict(sorted(found.items(), key=lambda item: order.index(item[0]) if item[0] in order else len(order)))


def load_recipe(recipe: str | Path) -> dict[str, Any]:
    """Read a recipe without checking its contents.

    Args:
        recipe: name of a recipe that comes with rtstyle, a file, or a trained style, by name or folder.

    Raises:
        ConfigError: there is no such recipe, the file is not valid TOML, or the style has no training record.
    """
    path = RECIPES / f"{recipe}.toml" if str(recipe) in recipes() else Path(recipe)
    style = recorded_style(recipe)
    if style is not None:
        return _from_record(style)
    try:
        return tomllib.loads(path.read_text("utf-8-sig"))
    except FileNotFoundError as error:
        known = f"recipes: {', '.join(recipes())}; or give a file or a style"
        names = [*recipes(), *(style.name for style in style_library.installed())]
        raise ConfigError(f"no recipe {str(recipe)!r}", hint=_did_you_mean(str(recipe), names) or known) from error
    except OSError as error:
        raise ConfigError(f"cannot read the recipe {path}: {error.strerror}") from error
    except (ValueError, RecursionError) as error:  # includes invalid UTF-8 and endless nesting
        raise ConfigError(f"the recipe {path} is not valid TOML: {error}", hint="see https://toml.io") from error


def recorded_style(recipe: str | Path) -> StyleModel | None:
    """Return the style that a recipe names; ``None`` if it names a recipe or a file.

    Raises:
        StyleError: the style is damaged.
    """
    if str(recipe) in recipes() or Path(recipe).is_file():
        return None
    try:
        folder = style_library.find(str(recipe))
    except StyleError:
        return None
    return StyleModel.open(folder)


def recorded_painting(style: StyleModel) -> str | None:
    """Return the file name of the painting that a style was trained on, from its record."""
    settings = style.training.get("settings")
    data = settings.get("data") if isinstance(settings, Mapping) else None
    name = data.get("style_picture") if isinstance(data, Mapping) else None
    return Path(name).name if isinstance(name, str) and name else None


def _from_record(style: StyleModel) -> dict[str, Any]:
    """Return the settings that a style was trained with, and its steps, without local settings."""
    record = style.training
    settings, steps = record.get("settings"), record.get("steps_done")
    if not isinstance(settings, dict) or not isinstance(steps, int):
        problem = f"the style {style.name} has no training record"
        raise ConfigError(problem, hint=f"recipes: {', '.join(recipes())}; or give a file")
    table = {section: dict(members) for section, members in settings.items() if isinstance(members, dict)}
    for section, members in LOCAL_SETTINGS.items():
        table[section] = {name: value for name, value in table.get(section, {}).items() if name not in members}
    table.setdefault("schedule", {}).update(steps=steps, minutes=None)
    return table


def resolve(
    recipe: str | Path,
    overrides: Sequence[str] = (),
    flags: Mapping[str, Any] | None = None,
    *,
    options: Mapping[str, str] | None = None,
    unfinished: bool = False,
) -> TrainConfig:
    """Combine the settings of a recipe, overrides and flags; later ones win.

    Args:
        recipe: name, file or style; see ``load_recipe``.
        overrides: ``section.name=value``, the value as in TOML, or a bare word for text. The last one of a name wins.
        flags: values by ``section.name``; ``None`` means not given.
        options: command line options by ``section.name``, to be named in errors.
        unfinished: use ``UNSET`` for missing pictures and folders instead of reporting them.

    Raises:
        SettingsError: some settings are wrong; it lists all errors.
    """
    errors, in_recipe = ErrorList(), ErrorList()
    table: dict[str, Any] = {}
    with errors.collect():
        table = load_recipe(recipe)
    conditional = _read_given(table.pop("given", {}), in_recipe)
    base = _convert_all(table, in_recipe)
    errors.errors += [ConfigError(f"{Path(recipe).name}: {error.problem}", error.hint) for error in in_recipe.errors]
    over = _convert_all(_parse_overrides(overrides, errors), errors)
    flagged = _convert_all(_by_section(flags or {}), errors)
    known: Values = {}
    for layer in (base, over, flagged):
        known = _merge(known, layer)
    given = [name for name, (section, member) in GIVEN.items() if known.get(section, {}).get(member) is not None]
    planned = _apply_given(base, conditional, given)
    values = _merge(_merge(planned, over), flagged)
    values.setdefault("run", {})["recipe"] = Path(recipe)  # not what a file that was saved from a recipe says
    if unfinished:
        _fill_paths(values)
    return _build(values, errors, _Wording(Path(recipe).name, planned, over, flagged, options or {}))


@dataclass(frozen=True)
class _Wording:
    """Rewords errors: names a setting by its command line option, or with the recipe that set it."""

    recipe: str
    planned: Values
    over: Values
    flagged: Values
    options: Mapping[str, str]

    def __call__(self, problem: str) -> str:
        name = problem.partition(" ")[0]
        source = f"{self.recipe}: " if self._has(self.planned, name) and not self._is_replaced(name) else ""
        return source + re.sub(r"\b[a-z]+\.[a-z_]+\b", lambda match: self._option(match[0]), problem)

    def _option(self, name: str) -> str:
        set_elsewhere = self._has(self.planned, name) or self._has(self.over, name)
        return self.options.get(name, name) if self._has(self.flagged, name) or not set_elsewhere else name

    def _is_replaced(self, name: str) -> bool:
        return self._has(self.over, name) or self._has(self.flagged, name)

    @staticmethod
    def _has(layer: Values, name: str) -> bool:
        section, _, member = name.partition(".")
        return member in layer.get(section, {})


def _fill_paths(values: Values) -> None:
    data = values.setdefault("data", {})
    for members, name in ((data, "content"), (values["run"], "out")):
        members.setdefault(name, UNSET)
    if data.get("style_picture") is None and data.get("style_pictures") is None:
        data["style_picture"] = UNSET


def _apply_given(base: Values, conditional: Mapping[str, Values], given: Iterable[str]) -> Values:
    """Add the settings of a recipe that depend on what the run is given."""
    for name in given:
        base = _merge(base, conditional.get(name, {}))
    return base


def to_toml(config: TrainConfig) -> str:
    """Write all settings as a recipe for the same run; unset ones become comments.

    Conditional settings of the run's own recipe come at the end.

    Raises:
        ConfigError: the run's recipe can no longer be read.
    """
    tables = {section: {name: _of(config, section, name) for name in kinds} for section, kinds in KINDS.items()}
    del tables["run"]["recipe"]  # the output is another recipe
    for name, sections in _remaining_given(config).items():
        tables |= {f"given.{name}.{section}": members for section, members in sections.items() if members}
    blocks = [f"# All settings, from the recipe {config.run.recipe.name}."] if config.run.recipe else []
    for heading, members in tables.items():
        lines = [
            f"# {name}" if value in (None, UNSET) else f"{name} = {_literal(value)}" for name, value in members.items()
        ]
        blocks.append("\n".join([f"[{heading}]", *lines]))
    return "\n\n".join(blocks) + "\n"


def _of(config: TrainConfig, section: str, member: str) -> Any:
    return getattr(getattr(config, section), member)


def _remaining_given(config: TrainConfig) -> dict[str, Values]:
    """Return the ``[given.…]`` sections of the run's recipe without settings that an override or flag has replaced."""
    if config.run.recipe is None:
        return {}
    errors = ErrorList()
    table = load_recipe(config.run.recipe)
    conditional = _read_given(table.pop("given", {}), errors)
    given = [name for name, (section, member) in GIVEN.items() if _of(config, section, member) is not None]
    planned = _apply_given(_convert_all(table, errors), conditional, given)
    errors.raise_if_any()
    for sections in conditional.values():
        for section, members in sections.items():
            usual = {member.name: member.default for member in fields(SECTIONS[section])} | planned.get(section, {})
            sections[section] = {
                name: value for name, value in members.items() if _of(config, section, name) == usual[name]
            }
    return conditional


def _literal(value: object) -> str:
    return json.dumps(str(value) if isinstance(value, Path) else value, ensure_ascii=False)


def _parse_overrides(overrides: Sequence[str], errors: ErrorList) -> Values:
    layer: Values = {}
    for text in overrides:
        with errors.collect():
            name, equals, value = (part.strip() for part in text.partition("="))
            if not equals:
                raise ConfigError(
                    f"--set {text!r} has no value", hint="write --set SECTION.KEY=VALUE, like losses.style=12"
                )
            section, member = _split_name(name)
            layer.setdefault(section, {})[member] = _parse_value(value, KINDS[section][member])
    return layer


def _parse_value(text: str, kind: Any) -> Any:
    """Parse a value as TOML; a bare word, or any value of a text or path setting, is text."""
    if text[:1] not in ("'", '"') and {str, Path} & {kind, *get_args(kind)}:
        return text
    try:
        table = tomllib.loads(f"value = {text}")
    except (ValueError, RecursionError):
        return text
    return table["value"] if table.keys() == {"value"} else text


def _by_section(flags: Mapping[str, Any]) -> Values:
    values: Values = {}
    for name, value in flags.items():
        if value is not None:
            section, member = _split_name(name)
            values.setdefault(section, {})[member] = value
    return values


def _split_name(name: str) -> tuple[str, str]:
    """Split and check ``section.name``; an error suggests the nearest name."""
    section, _, member = name.partition(".")
    if member in KINDS.get(section, {}):
        return section, member
    names = [f"{section}.{member}" for section, kinds in KINDS.items() for member in kinds]
    namesakes = [full for full in names if full.partition(".")[2] == name.rpartition(".")[2]]
    if namesakes:
        hint = f"did you mean {' or '.join(namesakes)}?"
    elif section in KINDS:
        hint = _did_you_mean(member, KINDS[section], f"{section}.") or f"{section} has {', '.join(KINDS[section])}"
    else:
        hint = _did_you_mean(name, names) or f"there are: {', '.join(KINDS)}"
    raise ConfigError(f"unknown setting {name or repr(name)}", hint=hint)


def _did_you_mean(name: str, known: Sequence[str] | Mapping[str, Any], prefix: str = "") -> str:
    near = difflib.get_close_matches(name.lower(), list(known), n=1, cutoff=0.6)
    return f"did you mean {prefix}{near[0]}?" if near else ""


def _read_given(table: Any, errors: ErrorList) -> dict[str, Values]:
    conditional = {}
    for name, sections in table.items() if isinstance(table, dict) else [(repr(table), None)]:
        with errors.collect():
            if name not in GIVEN or not isinstance(sections, dict):
                known = [f"given.{known}" for known in GIVEN]
                hint = _did_you_mean(f"given.{name}", known) or f"there are: {', '.join(known)}"
                raise ConfigError(f"unknown section [given.{name}]", hint=hint)
            conditional[name] = _convert_all(sections, errors)
    return conditional


def _convert_all(table: Mapping[str, Any], errors: ErrorList) -> Values:
    """Convert the values of all known settings; wrong ones are left out and reported."""
    values: Values = {}
    for section, members in table.items():
        with errors.collect():
            _check_section(section, members)
            values[section] = {}
        for member, value in members.items() if section in values else ():
            with errors.collect():
                _split_name(f"{section}.{member}")
                values[section][member] = _convert(value, KINDS[section][member], f"{section}.{member}")
    return values


def _check_section(section: str, members: Any) -> None:
    if section in KINDS and not isinstance(members, Mapping):
        raise ConfigError(f"{section} must be a section, got {members!r}", hint=f"write [{section}] above its settings")
    if section not in KINDS and not isinstance(members, Mapping):
        _split_name(section)
    if section not in KINDS:
        hint = _did_you_mean(section, KINDS) or f"there are: {', '.join(KINDS)}"
        raise ConfigError(f"unknown section [{section}]", hint=hint)


def _convert(value: Any, kind: Any, name: str) -> Any:
    options = get_args(kind)
    if NoneType in options:
        if value is None or value == "none":  # TOML has no null
            return None
        kind = next(option for option in options if option is not NoneType)
    if get_origin(kind) is Literal:
        kind = str  # TrainConfig checks the values
    if kind is Path and isinstance(value, str | Path) and str(value):
        return Path(os.path.expanduser(value))  # noqa: PTH111  # Path.expanduser raises for an unknown user
    if kind is float and type(value) is int and abs(value) < 2**53:
        return float(value)
    if type(value) is kind:
        return value
    raise ConfigError(f"{name} must be {WORDS[kind]}, got {value!r}")


def _merge(below: Values, above: Values) -> Values:
    """Combine two layers; the upper one wins, and its steps replace the minutes of the lower one."""
    values = {section: dict(members) for section, members in below.items()}
    schedule = above.get("schedule", {})
    if "steps" in schedule and "minutes" not in schedule:
        values.setdefault("schedule", {})["minutes"] = None
    for section, members in above.items():
        values.setdefault(section, {}).update(members)
    return values


def _build(values: Values, errors: ErrorList, wording: _Wording) -> TrainConfig:
    """Raises: SettingsError: the errors so far, missing settings, and those that TrainConfig finds."""
    for section, kind in SECTIONS.items():
        members = values.setdefault(section, {})
        for member in fields(kind):
            if member.default is MISSING and member.name not in members:
                errors.errors.append(ConfigError(wording(f"{section}.{member.name} is missing")))
                members[member.name] = Path()  # so that the rest is checked too
    config = None
    with errors.collect(wording):
        config = TrainConfig(**{section: kind(**values[section]) for section, kind in SECTIONS.items()})
    errors.raise_if_any()
    assert config is not None  # otherwise there is an error
    return config
