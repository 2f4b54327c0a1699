"""Options of a command that belong together, declared as the fields of a dataclass."""

from __future__ import annotations

import functools
import inspect
from collections.abc import Callable
from dataclasses import MISSING, fields, is_dataclass
from typing import Any, get_type_hints


def grouped(command: Callable[..., None]) -> Callable[..., None]:
    """Let a command take dataclasses of options: each of their fields becomes an option of its own.

    Typer reads options from a function's parameters alone, and a command with thirty of them has a page of signature.

    Args:
        command: some of its parameters are annotated with a dataclass, whose fields are annotated as options and have
            defaults.

    Returns:
        the command as Typer takes it, with the fields in the places of their dataclasses.
    """
    parameters = list[inspect.Parameter]()
    groups = dict[str, tuple[Callable[..., object], list[str]]]()
    hints = get_type_hints(command, include_extras=True)
    for parameter in inspect.signature(command).parameters.values():
        kind = hints[parameter.name]
        if not is_dataclass(kind):
            parameters.append(parameter.replace(annotation=kind))
            continue
        assert isinstance(kind, type)
        options = get_type_hints(kind, include_extras=True)
        groups[parameter.name] = (kind, [field.name for field in fields(kind)])
        for field in fields(kind):
            default = inspect.Parameter.empty if field.default is MISSING else field.default
            parameters.append(
                inspect.Parameter(field.name, parameter.kind, default=default, annotation=options[field.name])
            )

    @functools.wraps(command)
    def with_groups(**values: Any) -> None:
        grouped = {
            name: kind(**{field: values.pop(field) for field in names}) for name, (kind, names) in groups.items()
        }
        command(**values, **grouped)

    del with_groups.__wrapped__  # its parameters are others
    with_groups.__signature__ = inspect.Signature(parameters)  # type: ignore[attr-defined]
    with_groups.__annotations__ = {parameter.name: parameter.annotation for parameter in parameters} | {"return": None}
    return with_groups
