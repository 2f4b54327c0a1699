"""MIDI controllers, by a backend of mido whose ports are in this process."""

from __future__ import annotations

import logging
import threading
import tomllib
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import mido
import pytest

from engines.errors import ConfigError, SettingsError, SourceError
from rtstyle.controls import Controls
from rtstyle.live.action_queue import ActionQueue
from rtstyle.live.actions import Actions
from rtstyle.live.midi import MidiInput, find_input, list_inputs
from rtstyle.live.midi_map import DEFAULT, KINDS, Control, MidiMap, line_of, parse_control, read_midi_map, store
from rtstyle.live.session import LiveSession
from rtstyle.sources.pattern import PatternSource
from tests.rtstyle import midi_ports

STYLES = ("wave", "scream", "udnie")
Play = Callable[..., list[tuple[str, object]]]


@pytest.fixture
def backend(monkeypatch: pytest.MonkeyPatch) -> Iterator[None]:
    monkeypatch.setenv("MIDO_BACKEND", midi_ports.__name__)
    mido.set_backend()
    yield
    monkeypatch.undo()
    mido.set_backend()
    assert not midi_ports.OPEN, "every port was closed"


class Told(ActionQueue):
    """A queue that only tells what it was given."""

    def __init__(self) -> None:
        super().__init__()
        self.got: list[tuple[str, object]] = []

    def put(self, name: str, value: object, asked_by: str) -> None:
        self.got.append((name, value))


@pytest.fixture
def play(backend: None) -> Iterator[Play]:
    """Open a controller, send it messages, and return what it asks for."""
    live = LiveSession(PatternSource(64, 48, 30), Controls(styles=STYLES))

    def played(*messages: mido.Message, **settings: Any) -> list[tuple[str, object]]:
        queue = Told()
        midi = MidiInput("nanoKONTROL2", queue, **settings)
        try:
            midi.start(Actions(live))
            for message in messages:
                midi_ports.OPEN[midi.name].callback(message)
        finally:
            midi.close()
        return queue.got

    yield played
    live.close()


def cc(control: int, value: int, channel: int = 0) -> mido.Message:
    return mido.Message("control_change", control=control, value=value, channel=channel)


def note(number: int, velocity: int = 100, channel: int = 0) -> mido.Message:
    return mido.Message("note_on", note=number, velocity=velocity, channel=channel)


def test_the_default_map(play: Play) -> None:
    assert play(cc(1, 0), cc(1, 127), cc(2, 127), cc(3, 0), cc(3, 127)) == [
        ("strength", 0.0), ("strength", 1.0), ("colours", 1.0), ("scale", 0.5), ("scale", 2.0),
    ]  # fmt: skip
    assert play(note(36), note(36, 0), note(38), note(39), note(35)) == [("style", "wave"), ("style", "udnie")]
    assert play(mido.Message("program_change", program=1)) == [("style", "scream")]
    assert play(mido.Message("clock"), mido.Message("note_off", note=36), cc(77, 3)) == []


def test_the_middle_of_a_knob_is_the_styles_own_stroke_size(play: Play) -> None:
    assert play(cc(3, 64)) == [("scale", 1.0)]
    sizes = {value for _, value in play(*(cc(3, value) for value in range(128)))}
    assert len(sizes) == 9, "as many as the keys reach: each costs a compilation"


def test_a_file_replaces_the_lines_of_its_actions(play: Play, tmp_path: Path) -> None:
    file = tmp_path / "pads.toml"
    file.write_text(
        'strength = ["pitch", "aftertouch channel 2"]\ncolours = []\n"style wave" = "note 60"\nstyle = "cc 3"\n'
        'record = "cc 45"\nmirror = "note 40 channel 10"\nsnapshot = "cc 46"\n"pause on" = "program 5"\n'
    )
    bend, pressure = (mido.Message("pitchwheel", pitch=8191), mido.Message("aftertouch", value=127, channel=1))
    assert play(bend, pressure, cc(1, 5), cc(2, 5), note(60), map_file=file) == [
        ("strength", 1.0), ("strength", 1.0), ("style", "wave"),
    ]  # fmt: skip
    assert play(cc(3, 0), cc(3, 64), cc(3, 127), map_file=file) == [("style", name) for name in STYLES]
    assert play(cc(45, 127), cc(45, 0), note(40, channel=9), note(40), map_file=file) == [
        ("record", True), ("record", False), ("mirror", None),
    ]  # fmt: skip
    turned = [cc(46, value) for value in (0, 63, 64, 100, 64, 10, 127)]
    assert play(*turned, map_file=file) == [("snapshot", None)] * 2, "each time it comes past its middle"
    assert play(mido.Message("program_change", program=5), map_file=file) == [("pause", "on")]


def test_learning_prints_lines_and_stores_them(play: Play, tmp_path: Path, caplog: pytest.LogCaptureFixture) -> None:
    file = tmp_path / "new.toml"
    moves = [cc(21, 3), cc(21, 4), note(50), note(50, 0), cc(21, 127), cc(1, 9), note(50)]
    with caplog.at_level(logging.INFO):
        got = play(*moves, learn=["strength", "style wave"], map_file=file)
    assert got == [("strength", 1.0), ("style", "wave")], "CC 1 no longer means the strength"
    assert [record.message.partition("  (")[0] for record in caplog.records] == [
        "MIDI: move the control for strength", 'MIDI: strength = "cc 21"',
        "MIDI: move the control for style wave", 'MIDI: "style wave" = "note 50"',
    ]  # fmt: skip
    assert read_midi_map(file) == {"strength": [Control("cc", 21)], "style wave": [Control("note", 50)]}
    assert play(cc(21, 127), note(50), map_file=file) == [("strength", 1.0), ("style", "wave")]


def test_a_learned_line_replaces_its_own_and_keeps_the_others(tmp_path: Path) -> None:
    file = tmp_path / "map.toml"
    file.write_text('# my desk\nstrength = "cc 1"  # wheel\nscale = "cc 3"\n')
    store(file, "strength", Control("cc", 9))
    assert file.read_text() == '# my desk\nscale = "cc 3"\nstrength = "cc 9"\n'
    file.write_text('strength = [\n  "cc 1",\n]\n')
    with pytest.raises(ConfigError, match="cannot write") as error:
        store(file, "strength", Control("cc", 9))
    assert 'strength = "cc 9"' in error.value.hint and file.read_text().startswith("strength = [")


def test_events_are_written_as_they_are_read() -> None:
    for kind, numbers in KINDS.items():
        for number in {0, max(0, numbers - 1)}:
            for channel in (None, 1, 16):
                control = Control(kind, number, channel)
                assert parse_control(str(control)) == control
                assert tomllib.loads(line_of('style "odd" wave', control)) == {'style "odd" wave': str(control)}
    for text in ("", "cc", "cc 128", "cc -1", "note 3 channel 0", "note 3 channel 17", "pitch 3", "knob 3", "cc 1 2"):
        with pytest.raises(ValueError, match=r".*"):
            parse_control(text)
    assert {binding.action for binding in MidiMap().bindings} == set(DEFAULT)


def test_faults_of_a_file_are_reported_together(tmp_path: Path) -> None:
    file = tmp_path / "map.toml"
    file.write_text('strength = "cc 200"\nscale = 3\ncolours = "cc 2"\n')
    with pytest.raises(SettingsError) as error:
        read_midi_map(file)
    assert "strength must be like cc 21" in str(error.value) and "scale must" in str(error.value)
    with pytest.raises(ConfigError, match="cannot read"):
        read_midi_map(tmp_path / "none.toml")
    file.write_text("strength = cc 1")
    with pytest.raises(ConfigError, match="not valid TOML"):
        read_midi_map(file)


def test_actions_that_do_not_exist(play: Play) -> None:
    with pytest.raises(ConfigError, match="MIDI cannot steer 'volume'"):
        play(learn=["volume"])


def test_inputs_by_name(backend: None) -> None:
    assert list_inputs() == midi_ports.INPUTS
    assert find_input("default") == "nanoKONTROL2 MIDI 1", "nothing is connected to the first"
    assert find_input("launchpad") == "Launchpad Mini" and find_input("Midi Through Port-0") == "Midi Through Port-0"
    with pytest.raises(SourceError, match="no MIDI input 'piano'") as error:
        find_input("piano")
    assert "Launchpad Mini" in error.value.hint
    first = MidiInput("Launchpad", ActionQueue())
    with pytest.raises(SourceError, match="cannot open Launchpad Mini: busy"):
        MidiInput("Launchpad", ActionQueue())
    first.close()


def test_without_devices(backend: None, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(midi_ports, "INPUTS", ["Midi Through Port-0"])
    with pytest.raises(SourceError, match="no MIDI controller is connected"):
        find_input("default")


def test_a_controller_that_was_unplugged_is_taken_again(backend: None, monkeypatch: pytest.MonkeyPatch) -> None:
    changed = threading.Condition()

    class Port(midi_ports.Input):
        def _open(self, **settings: Any) -> None:
            with changed:
                super()._open(**settings)
                changed.notify_all()

        def _close(self) -> None:
            with changed:
                super()._close()
                changed.notify_all()

    monkeypatch.setattr(midi_ports, "Input", Port)
    monkeypatch.setattr("rtstyle.live.midi.LOOK_S", 0.01)
    queue = Told()
    midi = MidiInput("launchpad", queue)
    with LiveSession(PatternSource(64, 48, 30), Controls(styles=STYLES)) as live:
        midi.start(Actions(live))
        plugged = list(midi_ports.INPUTS)
        monkeypatch.setattr(midi_ports, "INPUTS", plugged[:2])
        with changed:
            assert changed.wait_for(lambda: not midi_ports.OPEN, 20)
        monkeypatch.setattr(midi_ports, "INPUTS", [*plugged[:2], "Launchpad Mini 28:0"])
        with changed:
            assert changed.wait_for(lambda: midi_ports.OPEN, 20)
        midi_ports.OPEN["Launchpad Mini 28:0"].callback(cc(1, 127))
        assert queue.got == [("strength", 1.0)]
        midi.close()


def test_knobs_reach_a_run(backend: None) -> None:
    queue, done = ActionQueue(), threading.Event()

    class Waking(Actions):
        def change(self, name: str, value: object = None) -> dict[str, Any]:
            answer = super().change(name, value)
            if name == "style":
                done.set()
            return answer

    with LiveSession(PatternSource(64, 48, 30), Controls(styles=STYLES)) as live:
        actions = Waking(live)
        midi = MidiInput("default", queue)
        midi.take(cc(1, 0))  # nothing runs yet
        midi.start(actions)
        queue.actions = actions
        midi.take(cc(2, 127))
        midi.take(note(38))
        assert done.wait(20)
        assert (live.controls.strength, live.controls.colours, live.controls.style) == (1.0, 1.0, "udnie")
        midi.close()
        midi.close()
        queue.close()
