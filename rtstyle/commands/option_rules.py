"""Options that mean something only together with another one.

Only what stands on the command line is checked: a file of settings is shared by several runs and commands, and each
takes from it what it needs.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Any

Values = Mapping[str, Any]
"""Values of a command's parameters, by name."""


@dataclass(frozen=True)
class Need:
    """Options that need something else.

    Attributes:
        options: names of their parameters.
        met: returns True if they mean something beside these values.
        without: what is missing, in words.
        hint: what to add.
    """

    options: tuple[str, ...]
    met: Callable[[Values], object]
    without: str
    hint: str


def check_options(ctx: Any) -> None:
    """Raise ConfigError if the command line of a context holds an option that would do nothing."""
    from engines.errors import ConfigError

    names = {one.name: _name(one, ctx) for one in ctx.command.params if source_of(ctx, one.name) == "COMMANDLINE"}
    for need in NEEDS.get(ctx.command.name, ()):
        idle = [names[option] for option in need.options if option in names]
        if idle and not need.met(ctx.params):
            does = "does" if len(idle) == 1 else "do"
            raise ConfigError(f"{' and '.join(idle)} {does} nothing without {need.without}", hint=need.hint)


def is_given(ctx: Any, parameter: str) -> bool:
    """Return True if the command line, the environment or a file sets a parameter."""
    return source_of(ctx, parameter) != "DEFAULT"


def source_of(ctx: Any, parameter: str) -> str:
    """Return where a parameter's value comes from: COMMANDLINE, ENVIRONMENT, DEFAULT_MAP (a file) or DEFAULT."""
    source = ctx.get_parameter_source(parameter)
    return "DEFAULT" if source is None else str(source.name)


def _name(parameter: Any, ctx: Any) -> str:
    """Return an option as it was written."""
    off = parameter.secondary_opts and ctx.params[parameter.name] is False
    names = parameter.secondary_opts if off else parameter.opts
    return next((name for name in names if name.startswith("--")), str(parameter.name))


def _has_mask(values: Values) -> bool:
    return values["only"] != "all" or values["mask"] is not None


def _is_steered(values: Values) -> bool:
    """Return True if other programs can change any setting of a live run."""
    return any(values[name] is not None for name in ("control", "osc", "midi") if name in values)


def _has_keys(values: Values) -> bool:
    return "window" in values["sink"] or _is_steered(values)


def _kinds(values: Values) -> set[str]:
    from rtstyle.sinks.factory import kind_of

    return {kind_of(sink) for sink in values["sink"]}


def _has_encoder(values: Values) -> bool:
    """Return True if a sink encodes as it is told; WHIP follows the network."""
    return bool(_kinds(values) & {"file", "stream"})


def _may_be_heard(values: Values) -> bool:
    """Return True if a sink has sound, a recording may begin later, or settings may follow sound."""
    return bool(_kinds(values) & {"file", "stream", "whip", "ndi"} or values["modulate"]) or _has_keys(values)


def _sets_rate(values: Values) -> bool:
    """Return True for a source that can be asked for a frame rate."""
    from rtstyle.sources.factory import kind_of

    return kind_of(values["source"]) not in ("file", "url")


_MASK = ("inside", "outside", "feather")
_ADD_MASK = "add --only person, or --mask FILE"
_ADD_SINK = "add --sink recording.mkv, or the rtmp://, srt:// or udp:// URL of a stream"
_ADD_PLAYLIST = "add --playlist vangogh,wave,scream"
_OWN_RATE = Need(
    ("fps",), _sets_rate, "a camera or the screen", "leave it out: clips and streams have their own frame rate"
)

NEEDS: Mapping[str, tuple[Need, ...]] = {
    "video": (
        Need(("every", "glide"), lambda values: values["playlist"], "--playlist", _ADD_PLAYLIST),
        Need(_MASK, _has_mask, "a mask", _ADD_MASK),
        Need(("workers", "send_limit"), lambda values: values["cluster"], "--cluster", "add --cluster local"),
    ),
    "image": (Need(_MASK, _has_mask, "a mask", _ADD_MASK),),
    "webcam": (
        Need(("every",), lambda values: values["playlist"] or _is_steered(values), "--playlist", _ADD_PLAYLIST),
        Need(("glide",), lambda values: values["playlist"] or _has_keys(values), "--playlist", _ADD_PLAYLIST),
        # With keys, or from another program, the part of the picture can be chosen later.
        Need(_MASK, lambda values: _has_mask(values) or _has_keys(values), "a mask", _ADD_MASK),
        Need(("bits", "encoder"), _has_encoder, "a recording or a stream", _ADD_SINK),
        Need(("microphone",), _may_be_heard, "a recording or a stream", _ADD_SINK),
        Need(("control_token",), lambda values: values["control"], "--control", "add --control 127.0.0.1:8765"),
        _OWN_RATE,
    ),
    "web": (
        Need(("every",), lambda values: values["playlist"] or _is_steered(values), "--playlist", _ADD_PLAYLIST),
        Need(
            ("size", "fps", "loop", "reconnect"),
            lambda values: values["source"] is not None,
            "a source of this machine",
            "add --source",
        ),
        _OWN_RATE,
        Need(("files_limit",), lambda values: values["files"], "--files", "add --files DIR"),
    ),
}
"""Name of a command → what its options need; the parts of a command that open something check what is left."""
