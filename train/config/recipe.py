"""Recipes: TOML files with the settings of a run, what overrides them, and every fault of both in one error.

A recipe has sections of ``TrainConfig``, each with some of its settings. Beside them, ``[given.clips.motion]`` holds
settings of the section ``motion`` that count only where the run is given clips; see ``GIVEN``.

A trained style is a recipe, too: its record holds all settings, and a run with them and the same data trains it again.
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
from rtstyle import styles
from train.config.error_list import Faults
from train.config.schema import TrainConfig

RECIPES = Path(__file__).parent.parent / "recipes"
"""The recipes that come with rtstyle."""

GIVEN = {"clips": ("data", "clips"), "style_pictures": ("data", "style_pictures"), "init": ("generator", "init")}
"""Names under ``[given.…]``, and the setting whose presence each one asks for."""

PLACES = {
    "data": ("style_picture", "style_pictures", "content", "clips", "features"),
    "run": ("out", "threads", "recipe"),
}
"""What a style's record tells by name only, or of the machine, by section."""

SECTIONS: dict[str, Any] = get_type_hints(TrainConfig)
KINDS: dict[str, dict[str, Any]] = {section: get_type_hints(kind) for section, kind in SECTIONS.items()}
"""Type of every setting, by section and name."""

OPENED = Path("\0")
"""Stands for a place that may still be given; no file can have this name."""

WORDS = {int: "a whole number", float: "a number", bool: "true or false", str: "text", Path: "a path"}

Values = dict[str, dict[str, Any]]
"""Settings by section and name."""


def recipes() -> dict[str, str]:
    """Names of the recipes that come with rtstyle, quickest first, and what their first line says."""
    found = {path.stem: path.read_text("utf-8").partition("\n")[0].lstrip("# ") for path in RECIPES.glob("*.toml")}
    order = ("fast", "default", "best")
    return dict(sorted(found.items(), key=lambda item: order.index(item[0]) if item[0] in order else len(order)))


def load_recipe(recipe: str | Path) -> dict[str, Any]:
    """Read a recipe, its contents yet unchecked.

    Args:
        recipe: name of one that comes with rtstyle, or a file; or a trained style, by name or folder.

    Raises:
        ConfigError: no such recipe, with the nearest name; or the file is no TOML, with the line; or the style has
        no record of its training.
    """
    path = RECIPES / f"{recipe}.toml" if str(recipe) in recipes() else Path(recipe)
    style = recorded_style(recipe)
    if style is not None:
        return _recorded(style)
    try:
        return tomllib.loads(path.read_text("utf-8-sig"))
    except FileNotFoundError as error:
        known = f"recipes: {', '.join(recipes())}; or give a file, or a style"
        raise ConfigError(
            f"no recipe {str(recipe)!r}",
            hint=_did_you_mean(str(recipe), [*recipes(), *(style.name for style in styles.installed())]) or known,
        ) from error
    except OSError as error:
        raise ConfigError(f"cannot read the recipe {path}: {error.strerror}") from error
    except (ValueError, RecursionError) as error:  # also bytes that are no text, and nesting without end
        raise ConfigError(f"the recipe {path} is no TOML: {error}", hint="see https://toml.io") from error


def recorded_style(recipe: str | Path) -> StyleModel | None:
    """The style whose record a recipe is; ``None`` where it is a recipe of its own.

    Raises:
        StyleError: the style is damaged.
    """
    if str(recipe) in recipes() or Path(recipe).is_file():
        return None
    try:
        folder = styles.find(str(recipe))
    except StyleError:
        return None
    return StyleModel.open(folder)


def painting_of(style: StyleModel) -> str | None:
    """File name of the picture that a style learned its strokes from, by its record."""
    settings = style.training.get("settings")
    data = settings.get("data") if isinstance(settings, Mapping) else None
    name = data.get("style_picture") if isinstance(data, Mapping) else None
    return Path(name).name if isinstance(name, str) and name else None


def _recorded(style: StyleModel) -> dict[str, Any]:
    """The settings that a style was trained with, and as many steps; without places, which are of another machine."""
    record = style.training
    settings, steps = record.get("settings"), record.get("steps_done")
    if not isinstance(settings, dict) or not isinstance(steps, int):
        problem = f"the style {style.name} has no record of its training"
        raise ConfigError(problem, hint=f"recipes: {', '.join(recipes())}; or give a file")
    table = {section: dict(members) for section, members in settings.items() if isinstance(members, dict)}
    for section, members in PLACES.items():
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
    """The settings of a run: those of the recipe, then the overrides, then the flags.

    Args:
        recipe: name or file.
        overrides: ``section.name=value``, the value as in TOML; a bare word is text. The last one of a name counts.
        flags: by ``section.name``; ``None`` is a flag that was not given.
        options: words of a command line, by ``section.name``: faults name what could be given there by its option.
        unfinished: put ``OPENED`` in the place of pictures and folders that are missing, instead of telling it.

    Raises:
        SettingsError: every fault of all three.
    """
    faults = Faults()
    table: dict[str, Any] = {}
    with faults.gathered():
        table = load_recipe(recipe)
    inside = Faults()
    wishes = _given(table.pop("given", {}), inside)
    base = _converted_all(table, inside)
    faults.found += [ConfigError(f"{Path(recipe).name}: {fault.problem}", fault.hint) for fault in inside.found]
    over = _converted_all(_overriding(overrides, faults), faults)
    told = _converted_all(_by_section(flags or {}), faults)
    known: Values = {}
    for layer in (base, over, told):
        known = _laid_over(known, layer)
    given = [name for name, (section, member) in GIVEN.items() if known.get(section, {}).get(member) is not None]
    planned = _granted(base, wishes, given)
    values = _laid_over(_laid_over(planned, over), told)
    values.setdefault("run", {})["recipe"] = Path(recipe)  # a file that was saved from a recipe is another one
    if unfinished:
        _open_places(values)
    words = _Words(Path(recipe).name, planned, over, told, options or {})
    return _made(values, faults, words)


@dataclass(frozen=True)
class _Words:
    """How a fault names a setting: by the option that gives it, or with the recipe that has set it."""

    recipe: str
    planned: Values
    over: Values
    told: Values
    options: Mapping[str, str]

    def __call__(self, problem: str) -> str:
        """A problem that begins with a setting's name, in other words."""
        name = problem.partition(" ")[0]
        source = f"{self.recipe}: " if self._has(self.planned, name) and not self._is_replaced(name) else ""
        return source + re.sub(r"\b[a-z]+\.[a-z_]+\b", lambda match: self._option(match[0]), problem)

    def _option(self, name: str) -> str:
        set_elsewhere = self._has(self.planned, name) or self._has(self.over, name)
        return self.options.get(name, name) if self._has(self.told, name) or not set_elsewhere else name

    def _is_replaced(self, name: str) -> bool:
        return self._has(self.over, name) or self._has(self.told, name)

    @staticmethod
    def _has(layer: Values, name: str) -> bool:
        section, _, member = name.partition(".")
        return member in layer.get(section, {})


def _open_places(values: Values) -> None:
    data = values.setdefault("data", {})
    for members, name in ((data, "content"), (values["run"], "out")):
        members.setdefault(name, OPENED)
    if data.get("style_picture") is None and data.get("style_pictures") is None:
        data["style_picture"] = OPENED


def _granted(base: Values, wishes: Mapping[str, Values], given: Iterable[str]) -> Values:
    """The settings of a recipe with those that it wants for what the run is given."""
    for name in given:
        base = _laid_over(base, wishes.get(name, {}))
    return base


def to_toml(config: TrainConfig) -> str:
    """All settings as a recipe, which gives the same run again; those that are not set stand in comments.

    What the run's own recipe wants where more is given stands at the end, so that both do the same with it.

    Raises:
        ConfigError: the run's recipe cannot be read any more.
    """
    tables = {section: {name: _of(config, section, name) for name in kinds} for section, kinds in KINDS.items()}
    del tables["run"]["recipe"]  # for who reads this as a recipe, it is another one
    for name, sections in _wishes_left(config).items():
        tables |= {f"given.{name}.{section}": members for section, members in sections.items() if members}
    blocks = [f"# All settings, from the recipe {config.run.recipe.name}."] if config.run.recipe else []
    for heading, members in tables.items():
        lines = [
            f"# {name}" if value in (None, OPENED) else f"{name} = {_literal(value)}" for name, value in members.items()
        ]
        blocks.append("\n".join([f"[{heading}]", *lines]))
    return "\n\n".join(blocks) + "\n"


def _of(config: TrainConfig, section: str, member: str) -> Any:
    return getattr(getattr(config, section), member)


def _wishes_left(config: TrainConfig) -> dict[str, Values]:
    """What the run's recipe has under ``[given.…]``, without the settings that an override or a flag has replaced."""
    if config.run.recipe is None:
        return {}
    faults = Faults()
    table = load_recipe(config.run.recipe)
    wishes = _given(table.pop("given", {}), faults)
    given = [name for name, (section, member) in GIVEN.items() if _of(config, section, member) is not None]
    planned = _granted(_converted_all(table, faults), wishes, given)
    faults.tell()
    for sections in wishes.values():
        for section, members in sections.items():
            usual = {member.name: member.default for member in fields(SECTIONS[section])} | planned.get(section, {})
            sections[section] = {
                name: value for name, value in members.items() if _of(config, section, name) == usual[name]
            }
    return wishes


def _literal(value: object) -> str:
    return json.dumps(str(value) if isinstance(value, Path) else value, ensure_ascii=False)


def _overriding(overrides: Sequence[str], faults: Faults) -> Values:
    layer: Values = {}
    for text in overrides:
        with faults.gathered():
            name, given, value = (part.strip() for part in text.partition("="))
            if not given:
                raise ConfigError(f"{text!r} sets nothing", hint="write --set SECTION.KEY=VALUE, like losses.style=12")
            section, member = _known(name)
            layer.setdefault(section, {})[member] = _read(value, KINDS[section][member])
    return layer


def _read(text: str, kind: Any) -> Any:
    """A value as in TOML; a bare word, and what is set where a text or path belongs, is text: a style named 2026."""
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
            section, member = _known(name)
            values.setdefault(section, {})[member] = value
    return values


def _known(name: str) -> tuple[str, str]:
    """``section.name`` in two parts.

    Raises:
        ConfigError: there is no such setting; the hint is the nearest, or what the section has.
    """
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
    raise ConfigError(f"{name or repr(name)} is no setting", hint=hint)


def _did_you_mean(name: str, known: Sequence[str] | Mapping[str, Any], prefix: str = "") -> str:
    near = difflib.get_close_matches(name.lower(), list(known), n=1, cutoff=0.6)
    return f"did you mean {prefix}{near[0]}?" if near else ""


def _given(table: Any, faults: Faults) -> dict[str, Values]:
    wishes = {}
    for name, sections in table.items() if isinstance(table, dict) else [(repr(table), None)]:
        with faults.gathered():
            if name not in GIVEN or not isinstance(sections, dict):
                known = [f"given.{known}" for known in GIVEN]
                hint = _did_you_mean(f"given.{name}", known) or f"there are: {', '.join(known)}"
                raise ConfigError(f"[given.{name}] is no section of a recipe", hint=hint)
            wishes[name] = _converted_all(sections, faults)
    return wishes


def _converted_all(table: Mapping[str, Any], faults: Faults) -> Values:
    """Known settings with values of their types; what is wrong is left out and told."""
    values: Values = {}
    for section, members in table.items():
        with faults.gathered():
            _check_section(section, members)
            values[section] = {}
        for member, value in members.items() if section in values else ():
            with faults.gathered():
                _known(f"{section}.{member}")
                values[section][member] = _converted(value, KINDS[section][member], f"{section}.{member}")
    return values


def _check_section(section: str, members: Any) -> None:
    """Raises: ConfigError: no such section, or one value in the place of a section."""
    if section in KINDS and not isinstance(members, Mapping):
        raise ConfigError(f"{section} must be a section, got {members!r}", hint=f"write [{section}] above its settings")
    if section not in KINDS and not isinstance(members, Mapping):
        _known(section)
    if section not in KINDS:
        hint = _did_you_mean(section, KINDS) or f"there are: {', '.join(KINDS)}"
        raise ConfigError(f"[{section}] is no section of a recipe", hint=hint)


def _converted(value: Any, kind: Any, name: str) -> Any:
    """Raises: ConfigError: the value is not of the kind."""
    options = get_args(kind)
    if NoneType in options:
        if value is None or value == "none":  # TOML has no word for it
            return None
        kind = next(option for option in options if option is not NoneType)
    if get_origin(kind) is Literal:
        kind = str  # which words, the settings check themselves
    if kind is Path and isinstance(value, str | Path) and str(value):
        return Path(os.path.expanduser(value))  # noqa: PTH111  # Path.expanduser raises for an unknown user
    if kind is float and type(value) is int and abs(value) < 2**53:
        return float(value)
    if type(value) is kind:
        return value
    raise ConfigError(f"{name} must be {WORDS[kind]}, got {value!r}")


def _laid_over(below: Values, above: Values) -> Values:
    """Both, the upper one where they differ. Steps that are set above end the counting of minutes below."""
    values = {section: dict(members) for section, members in below.items()}
    schedule = above.get("schedule", {})
    if "steps" in schedule and "minutes" not in schedule:
        values.setdefault("schedule", {})["minutes"] = None
    for section, members in above.items():
        values.setdefault(section, {}).update(members)
    return values


def _made(values: Values, faults: Faults, words: _Words) -> TrainConfig:
    """Raises: SettingsError: what was wrong already, what is missing, and what the settings themselves find."""
    for section, kind in SECTIONS.items():
        members = values.setdefault(section, {})
        for member in fields(kind):
            if member.default is MISSING and member.name not in members:
                faults.found.append(ConfigError(words(f"{section}.{member.name} is missing")))
                members[member.name] = Path()  # so that the rest can be checked as well
    config = None
    with faults.gathered(words):
        config = TrainConfig(**{section: kind(**values[section]) for section, kind in SECTIONS.items()})
    faults.tell()
    assert config is not None  # or there would have been a fault
    return config
