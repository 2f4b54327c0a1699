"""Options that say where the style shows."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from rtstyle.commands.values import choice, number

if TYPE_CHECKING:
    from rtstyle.masks.settings import MaskSettings

Only = Annotated[
    str,
    typer.Option(
        metavar="all|person|background|faces",
        parser=choice("all", "person", "background", "faces"),
        help="Stylize only the people in the picture, only what is behind them, or only faces.",
    ),
]
Mask = Annotated[
    Path | None,
    typer.Option(
        metavar="FILE",
        help="Stylize only where this picture or clip is white. A clip runs along with the input; numbered pictures "
        "like masks/%06d.png do, one for each frame. Together with --only, where both say so.",
    ),
]
Inside = Annotated[
    float,
    typer.Option(metavar="0..1", parser=number(0, 1), help="Strength of the style where --only or --mask say so."),
]
Outside = Annotated[float, typer.Option(metavar="0..1", parser=number(0, 1), help="Strength of the style elsewhere.")]
Feather = Annotated[
    float,
    typer.Option(metavar="PX", parser=number(0, 256), help="Soften the border between the two by so many pixels."),
]


Faces = Annotated[
    float,
    typer.Option(
        metavar="0..1",
        parser=number(0, 1),
        help="Take so much of the style from faces, so that they can be recognized; 0.5 is a good value.",
    ),
]


@dataclass(frozen=True)
class Masking:
    """Where the style shows."""

    only: Only = "all"
    mask: Mask = None
    inside: Inside = 1.0
    outside: Outside = 0.0
    feather: Feather = 0.0
    faces: Faces = 0.0

    def settings(self) -> MaskSettings:
        """Return the settings besides ``only``."""
        from rtstyle.masks.settings import MaskSettings

        return MaskSettings(self.mask, self.inside, self.outside, self.feather)
