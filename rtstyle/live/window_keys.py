"""Keys of the window, translated into the actions of a live run."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

from engines.errors import StylerError
from rtstyle.live.actions import Actions
from rtstyle.live.mix_slider import share_of_second, with_first
from rtstyle.live.texture import texture_now
from rtstyle.masks.settings import MAX_FEATHER
from rtstyle.sinks.window import WindowSink
from rtstyle.stroke_scale import SCALE_STEPS, SCALES, nearest_step
from rtstyle.style_mix import caption_of

STEP = 0.1
"""Change for one press: of strength by Z or C, texture by G or L, own colours by V or B, faces by N or M, inside by Y
or U, outside by J or K, a mix by comma or point."""

FEATHER_STEP = 2.0
"""Change of the soft border for one press of W or E, pixels."""

ONLY_CAPTIONS = {"all": "everything", "person": "people only", "background": "background only", "faces": "faces only"}


class WindowKeys:
    """Steers a window and, through it, a live run: a ``rtstyle.sinks.window.WindowController``.

    The keys are those of avatarify where it has them.
    """

    help = (
        ("1-9", "style"),
        ("A D", "previous, next style"),
        ("0", "style off and on"),
        ("X", "mix with the next style"),
        (", .", "less, more of it"),
        ("Z C", "less, more strength"),
        ("G L", "less, more texture"),
        ("V B", "fewer, more own colours"),
        ("[ ]", "smaller, larger strokes"),
        ("O", "everything, people, background or faces only"),
        ("Y U", "less, more style inside that part"),
        ("J K", "less, more style outside it"),
        ("W E", "harder, softer border"),
        ("N M", "less, more of faces kept"),
        ("S", "side by side with the input"),
        ("T", "mirror"),
        ("P", "pause"),
        ("Space", "save the picture"),
        ("R", "start, stop recording"),
        ("I", "figures"),
        ("F", "full screen"),
        ("H", "this help"),
        ("Esc", "stop"),
    )

    def __init__(self, actions: Actions) -> None:
        self._actions, self._controls = actions, actions.live.controls
        self._strength_on = self._controls.strength or 1.0
        self._recording: Path | None = None
        self._keys: dict[str, Callable[[WindowSink], str]] = {
            "a": lambda _: self._choose("previous"),
            "d": lambda _: self._choose("next"),
            "0": lambda _: self._toggle_style(),
            "x": lambda _: self._mix("next"),
            ",": lambda _: self._mix(-STEP),
            ".": lambda _: self._mix(STEP),
            "z": lambda _: self._change_strength(-STEP),
            "c": lambda _: self._change_strength(STEP),
            "g": lambda _: self._change_texture(-STEP),
            "l": lambda _: self._change_texture(STEP),
            "v": lambda _: self._change_colours(-STEP),
            "b": lambda _: self._change_colours(STEP),
            "[": lambda _: self._change_scale(-1),
            "]": lambda _: self._change_scale(1),
            "o": lambda _: ONLY_CAPTIONS[actions.change("only", "next")["only"]],
            "y": lambda _: self._change_mask("inside", -STEP),
            "u": lambda _: self._change_mask("inside", STEP),
            "j": lambda _: self._change_mask("outside", -STEP),
            "k": lambda _: self._change_mask("outside", STEP),
            "w": lambda _: self._change_mask("feather", -FEATHER_STEP),
            "e": lambda _: self._change_mask("feather", FEATHER_STEP),
            "n": lambda _: self._change_faces(-STEP),
            "m": lambda _: self._change_faces(STEP),
            "t": lambda _: f"mirror {'on' if actions.change('mirror')['mirror'] else 'off'}",
            "p": lambda _: "paused" if actions.change("pause")["paused"] else "running",
            "space": lambda window: f"saved {actions.change('snapshot', window.picture)['saved']}",
            "r": lambda _: self._record(),
            "s": lambda window: window.toggle_side_by_side(),
            "i": lambda window: window.toggle_figures(),
            "h": lambda window: window.toggle_help(),
            "f": lambda window: window.toggle_full_screen(),
        }

    @property
    def paused(self) -> bool:
        """True while the window keeps its picture."""
        return self._controls.paused

    def figures(self) -> list[str]:
        """Return the lines that the I key shows."""
        return self._actions.live.read().lines()

    def press(self, key: str, window: WindowSink) -> bool:
        """Carry out what a key asks for, and show a caption; return False when it asks to stop.

        ``key`` is the character on the key, or its name, in lower case.
        """
        if key in ("escape", "q"):
            return False
        action = self._keys.get(key)
        if action is None and key.isdecimal() and int(key) <= len(self._controls.styles):
            name = self._controls.styles[int(key) - 1]
            action = lambda _: self._choose(with_first(self._controls, name))  # noqa: E731
        if action is not None:
            try:
                caption = action(window)
            except StylerError as error:
                caption = str(error)
            if caption:
                window.show_caption(caption)
        return True

    def look(self, window: WindowSink) -> bool:
        """Show a caption when a recording has started or ended, by whomever; return True while there is one."""
        recorder = self._actions.live.recorder
        path = recorder.path
        if path != self._recording:
            window.show_caption(f"recording {path}" if path else recorder.fault or f"recorded {self._recording}")
        self._recording = path
        return path is not None

    def _choose(self, style: str) -> str:
        if not self._controls.styles:
            return ""
        name = str(self._actions.change("style", style)["style"])
        if not self._controls.strength:  # whoever chooses a style wants to see it
            self._actions.change("strength", self._strength_on)
        return caption_of(name)

    def _mix(self, change: str | float) -> str:
        """Mix the style with another one, or with more or less of it."""
        if len(self._controls.styles) < 2:
            return ""
        if not isinstance(change, str):
            share = share_of_second(self._controls)
            change = round(min(1.0, max(0.0, share + change)), 2)
        return caption_of(str(self._actions.change("mix", change)["style"]))

    def _toggle_style(self) -> str:
        if self._controls.strength:
            self._strength_on = self._controls.strength
            self._actions.change("strength", 0.0)
            return "style off"
        self._actions.change("strength", self._strength_on)
        return caption_of(self._controls.style) or "style on"

    def _change_strength(self, step: float) -> str:
        strength = round(min(1.0, max(0.0, self._controls.strength + step)), 2)
        return f"strength {self._actions.change('strength', strength)['strength']:.1f}"

    def _change_faces(self, step: float) -> str:
        faces = round(min(1.0, max(0.0, self._controls.faces + step)), 2)
        return f"faces kept {self._actions.change('faces', faces)['faces']:.1f}"

    def _change_mask(self, name: str, step: float) -> str:
        """Change what masks do; without one that would not be seen."""
        controls = self._controls
        if controls.only == "all" and controls.masks.file is None:
            return "choose a part of the picture first: O"
        most = MAX_FEATHER if name == "feather" else 1.0
        value = round(min(most, max(0.0, getattr(controls, name) + step)), 2)
        self._actions.change(name, value)
        return f"soft border {value:g} px" if name == "feather" else f"{name} {value:.1f}"

    def _change_colours(self, step: float) -> str:
        colours = round(min(1.0, max(0.0, self._controls.colours + step)), 2)
        return f"own colours {self._actions.change('colours', colours)['colours']:.1f}"

    def _change_texture(self, step: float) -> str:
        if not self._controls.styles:
            return ""
        texture = round(min(1.0, max(0.0, texture_now(self._controls) + step)), 2)
        return f"texture {self._actions.change('texture', texture)['texture']:.2f}"

    def _change_scale(self, presses: int) -> str:
        low, high = SCALES
        scale = nearest_step(min(high, max(low, self._controls.scale * 2.0 ** (presses / SCALE_STEPS))))
        return f"scale {self._actions.change('scale', scale)['scale']:.2f}"

    def _record(self) -> str:
        answer = self._actions.change("record")
        if answer["recording"] is not None:
            return ""  # ``look`` shows it
        path, self._recording = self._recording, None
        return f"recorded {answer['recorded'] or path}"
