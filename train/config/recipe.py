"""Recipes: TOML files with settings of a run, below overrides and options; all errors are reported at once.

A recipe has the sections of ``TrainConfig``, each with some of its settings. ``[given.clips.motion]`` holds
settings of the section ``motion`` that apply only if the run is given clips; see ``GIVEN``.

A trained style is also a recipe: its record holds all settings, and the same data trains it again.
"""

from __future__ import annotations

import difflib
import json
import re
import tomllib
from collections.abc import Iterable, Mapping, Sequence
from pathlib import Path
from typing import Any, get_args

from engines.errors import ConfigError, SettingsError, StyleError
from engines.os_errors import advice, reason
from engines.style_file import StyleModel
from rtstyle import style_library
from train.config.schema import KINDS, NOWHERE, PLACES, SECTIONS, TrainConfig, build, read_sections

RECIPES = Path(__file__).parent.parent / "recipes"
"""The recipes that come with rtstyle."""

GIVEN = {"clips": "data.clips", "style_pictures": "data.style_pictures", "init": "generator.init"}
"""Names under ``[given.…]``, and the setting that each one depends on."""

LOCAL_SETTINGS = {
    "data": ("style_picture", "style_pictures", "content", "clips", "features"),
    "run": ("out", "threads", "recipe"),
}
"""Settings of a style's record that are file names, or depend on the machine, by section."""

Values = dict[str, Any]
"""Values by ``section.name``, as they were given."""


def recipes() -> dict[str, str]:
    """Return the names of the recipes that come with rtstyle, quickest first, and their first lines."""
    found = {path.stem: path.read_text("utf-8").partition("\n")[0].lstrip("# ") for path in RECIPES.glob("*.toml")}
    order = ("quick", "fast", "default", "best")
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
        raise ConfigError(f"cannot read the recipe {path}: {reason(error)}", hint=advice(error)) from error
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


def recorded_settings(record: Mapping[str, Any]) -> dict[str, dict[str, Any]]:
    """Return the settings of a training record by section, ignoring anything outside a section."""
    settings = record.get("settings")
    found = settings.items() if isinstance(settings, Mapping) else ()
    return {str(section): dict(members) for section, members in found if isinstance(members, Mapping)}


def recorded_painting(style: StyleModel) -> str | None:
    """Return the file name of the painting that a style was trained on, from its record."""
    name = recorded_settings(style.training).get("data", {}).get("style_picture")
    return Path(name).name if isinstance(name, str) and name else None


def _from_record(style: StyleModel) -> dict[str, Any]:
    """Return the settings that a style was trained with, and its steps, without local settings."""
    table, steps = recorded_settings(style.training), style.training.get("steps_done")
    if not table or not isinstance(steps, int):
        problem = f"the style {style.name} has no training record"
        raise ConfigError(problem, hint=f"recipes: {', '.join(recipes())}; or give a file")
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
    defaults: Mapping[str, Any] | None = None,
    unfinished: bool = False,
) -> TrainConfig:
    """Combine the settings of a recipe, overrides and flags; later ones win.

    Args:
        recipe: name, file or style; see ``load_recipe``.
        overrides: ``section.name=value``, the value as in TOML, or a bare word for text. The last one of a name wins.
        flags: values by ``section.name``; ``None`` means not given.
        options: command line options by ``section.name``, to be named in errors.
        defaults: values by ``section.name`` of what neither the recipe nor anything else sets.
        unfinished: use ``NOWHERE`` for missing pictures and folders instead of reporting them.

    Raises:
        SettingsError: some settings are wrong; it lists all errors.
    """
    base, conditional, errors = _read_recipe(recipe)
    over = _parse_overrides(overrides, errors)
    flagged = {name: value for name, value in (flags or {}).items() if value is not None}
    planned = _apply_given(base, conditional, _merge(base, over, flagged))
    values = {**(defaults or {}), **_merge(planned, over, flagged)}
    values["run.recipe"] = Path(recipe)  # not what a file that was saved from a recipe says
    if unfinished:
        values = PLACES | values
        if not (values.get("data.style_picture") or values.get("data.style_pictures")):
            values["data.style_picture"] = NOWHERE

    def reworded(error: ConfigError) -> ConfigError:
        """Name a setting by its command line option, or with the recipe that set it."""
        name, given = error.problem.partition(" ")[0], over.keys() | flagged.keys()
        source = f"{Path(recipe).name}: " if name in planned.keys() - given else ""
        named = {key: option for key, option in (options or {}).items() if key in flagged or key not in planned | over}
        text = re.sub(r"\b[a-z]+\.[a-z_]+\b", lambda match: named.get(match[0], match[0]), error.problem)
        return ConfigError(source + text, error.hint)

    try:
        config = build(values)
    except SettingsError as error:
        errors += map(reworded, error.errors)
    if errors:
        raise SettingsError(list({error.problem: error for error in errors}.values()))
    return config


def _read_recipe(recipe: str | Path) -> tuple[Values, dict[str, Values], list[ConfigError]]:
    """Return the settings of a recipe, those of its ``[given.…]`` sections, and what is wrong with it."""
    try:
        table = load_recipe(recipe)
    except ConfigError as error:
        return {}, {}, [error]
    given, errors = table.pop("given", {}), list[ConfigError]()
    conditional: dict[str, Values] = {}
    for name, sections in given.items() if isinstance(given, dict) else [(repr(given), None)]:
        if name in GIVEN and isinstance(sections, dict):
            conditional[name] = _flat(sections, errors)
            errors += read_sections(PLACES | conditional[name])[1]  # also if they do not apply
        else:
            known = [f"given.{known}" for known in GIVEN]
            hint = _did_you_mean(f"given.{name}", known) or f"there are: {', '.join(known)}"
            errors.append(ConfigError(f"unknown section [given.{name}]", hint=hint))
    values = _flat(table, errors)
    return values, conditional, [ConfigError(f"{Path(recipe).name}: {one.problem}", one.hint) for one in errors]


def _flat(table: Mapping[str, Any], errors: list[ConfigError]) -> Values:
    """Return all known settings of a table by ``section.name``; the others are reported."""
    values: Values = {}
    for section, members in table.items():
        if section in SECTIONS and not isinstance(members, Mapping):
            problem = f"{section} must be a section, got {members!r}"
            errors.append(ConfigError(problem, hint=f"write [{section}] above its settings"))
        elif not isinstance(members, Mapping):
            errors.append(_unknown(section))
        elif section not in SECTIONS:
            hint = _did_you_mean(section, SECTIONS) or f"there are: {', '.join(SECTIONS)}"
            errors.append(ConfigError(f"unknown section [{section}]", hint=hint))
        else:
            named = {f"{section}.{member}": value for member, value in members.items()}
            errors += [_unknown(name) for name in named if name not in KINDS]
            values |= {name: value for name, value in named.items() if name in KINDS}
    return values


def _parse_overrides(overrides: Sequence[str], errors: list[ConfigError]) -> Values:
    values: Values = {}
    for text in overrides:
        name, equals, value = (part.strip() for part in text.partition("="))
        if not equals:
            hint = "write --set SECTION.KEY=VALUE, like losses.style=12"
            errors.append(ConfigError(f"--set {text!r} has no value", hint=hint))
        elif name not in KINDS:
            errors.append(_unknown(name))
        else:
            values[name] = _parse_value(value, KINDS[name])
    return values


def _parse_value(text: str, kind: Any) -> Any:
    """Parse a value as TOML; a bare word, or any value of a text or path setting, is text."""
    if text[:1] not in ("'", '"') and {str, Path} & {kind, *get_args(kind)}:
        return text
    try:
        table = tomllib.loads(f"value = {text}")
    except (ValueError, RecursionError):
        return text
    return table["value"] if table.keys() == {"value"} else text


def _unknown(name: str) -> ConfigError:
    """Return the error of an unknown setting, which suggests the nearest ones."""
    section, _, member = name.partition(".")
    namesakes = [known for known in KINDS if known.partition(".")[2] == name.rpartition(".")[2]]
    if namesakes:
        hint = f"did you mean {' or '.join(namesakes)}?"
    elif section in SECTIONS:
        members = [known.partition(".")[2] for known in KINDS if known.startswith(f"{section}.")]
        hint = _did_you_mean(member, members, f"{section}.") or f"{section} has {', '.join(members)}"
    else:
        hint = _did_you_mean(name, KINDS) or f"there are: {', '.join(SECTIONS)}"
    return ConfigError(f"unknown setting {name or repr(name)}", hint=hint)


def _did_you_mean(name: str, known: Iterable[str], prefix: str = "") -> str:
    near = difflib.get_close_matches(name.lower(), list(known), n=1, cutoff=0.6)
    return f"did you mean {prefix}{near[0]}?" if near else ""


def _merge(*layers: Values) -> Values:
    """Combine layers; later ones win, and their steps replace the minutes of earlier ones."""
    values: Values = {}
    for layer in layers:
        if "schedule.steps" in layer:
            values["schedule.minutes"] = None
        values |= layer
    return values


def _apply_given(base: Values, conditional: Mapping[str, Values], known: Mapping[str, Any]) -> Values:
    """Add the settings of a recipe that depend on what the run is given."""
    given = [name for name, setting in GIVEN.items() if known.get(setting) not in (None, "none")]
    return _merge(base, *(conditional.get(name, {}) for name in given))


def to_toml(config: TrainConfig) -> str:
    """Write all settings as a recipe for the same run; unset ones become comments.

    Conditional settings of the run's own recipe come at the end.

    Raises:
        ConfigError: the run's recipe can no longer be read.
    """
    tables = {section: dict(vars(getattr(config, section))) for section in SECTIONS}
    del tables["run"]["recipe"]  # the output is another recipe
    for given, values in _remaining_given(config).items():
        for name, value in values.items():
            section, _, member = name.partition(".")
            tables.setdefault(f"given.{given}.{section}", {})[member] = value
    blocks = [f"# All settings, from the recipe {config.run.recipe.name}."] if config.run.recipe else []
    for heading, members in tables.items():
        lines = [
            f"# {name}" if value in (None, NOWHERE) else f"{name} = {_literal(value)}"
            for name, value in members.items()
        ]
        blocks.append("\n".join([f"[{heading}]", *lines]))
    return "\n\n".join(blocks) + "\n"


def _remaining_given(config: TrainConfig) -> dict[str, Values]:
    """Return the ``[given.…]`` sections of the run's recipe without settings that an override or flag has replaced."""
    if config.run.recipe is None:
        return {}
    base, conditional, errors = _read_recipe(config.run.recipe)
    usual, wrong = read_sections(
        PLACES | _apply_given(base, conditional, {name: _of(vars(config), name) for name in KINDS})
    )
    if errors or wrong:
        raise SettingsError([*errors, *wrong])
    return {
        given: {name: value for name, value in values.items() if _of(vars(config), name) == _of(usual, name)}
        for given, values in conditional.items()
    }


def _of(sections: Mapping[str, Any], name: str) -> Any:
    section, _, member = name.partition(".")
    return getattr(sections[section], member)


def _literal(value: object) -> str:
    return json.dumps(str(value) if isinstance(value, Path) else value, ensure_ascii=False)
