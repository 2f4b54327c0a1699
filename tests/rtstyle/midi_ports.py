"""A backend of mido whose ports are in this process, named in ``INPUTS``: no MIDI hardware or driver is needed."""

from __future__ import annotations

from typing import Any

from mido.ports import BaseInput

INPUTS = ["Midi Through Port-0", "nanoKONTROL2 MIDI 1", "Launchpad Mini"]

OPEN: dict[str, Input] = {}
"""The open ports by name; tests call ``callback`` with a message, as the driver's thread does."""


class Input(BaseInput):  # type: ignore[misc]
    """An input port that hands messages to its callback."""

    _locking = False

    def _open(self, callback: Any = None, **_: Any) -> None:
        if self.name in OPEN:
            raise OSError("busy")
        self.callback = callback
        OPEN[self.name] = self

    def _close(self) -> None:
        del OPEN[self.name]


def get_devices(**_: Any) -> list[dict[str, Any]]:
    """Return the devices as mido describes them."""
    return [{"name": name, "is_input": True, "is_output": False} for name in INPUTS]
