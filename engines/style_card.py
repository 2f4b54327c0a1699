"""The model card of a style and the description inside its weights, both made from its record.

Source:
    front matter: https://huggingface.co/docs/hub/model-cards.
"""

from __future__ import annotations

import json
from collections.abc import Mapping
from importlib import metadata
from pathlib import Path
from typing import Any

from engines.base import MAX_SIZE, MIN_SIDE
from engines.style_file import FORMAT, PREVIEW, StyleMeta

CARD = "README.md"
"""File name of the card. ``style.json`` does not list it: a style without a card, or with an edited one, is intact."""

PAINTING_RIGHTS = "painting_rights"
"""Entry of the training record: the legal status of the painting itself, e.g. ``public domain``."""

_HUB_LICENCES = frozenset(
    {"apache-2.0", "mit", "cc0-1.0", "cc-by-4.0", "cc-by-sa-4.0", "cc-by-nc-4.0", "bsd-3-clause", "gpl-3.0"}
)

_FIGURES = {
    "style": "distance to the painting relative to the photographs', smaller is closer",
    "strokes": "the same for the features of strokes alone",
    "ssim": "how much of the photograph's structure is left, 0 … 1",
    "lpips": "perceptual distance to the photograph",
    "noise": "how much of a camera's noise comes through, 1 is all of it",
    "ewarp": "flicker that the motion of the scene does not explain",
}


def weights_metadata(meta: StyleMeta) -> dict[str, str]:
    """Return what the header of the weights says about them, as ``__metadata__`` of safetensors."""
    try:
        created_by = f"rtstyle {metadata.version('rtstyle')}"
    except metadata.PackageNotFoundError:  # run from a checkout
        created_by = "rtstyle"
    return {
        "format_version": str(FORMAT),
        "name": meta.name,
        "title": meta.title,
        "painter": meta.painter,
        "work": _painting(meta),
        "licence": meta.licence,
        "created_by": created_by,
    }


def model_card(meta: StyleMeta, figures: Mapping[str, float] | None = None, *, preview: bool) -> str:
    """Return the model card of a style in Markdown, with those measured figures that ``_FIGURES`` explains."""
    work, known = _painting(meta), figures or {}
    rows = [(name, f"{known[name]:.3g}", meaning) for name, meaning in _FIGURES.items() if name in known]
    measured = _table(("figure", "measured", "meaning"), *rows)
    template = Path(__file__).with_name("style_card.md").read_text("utf-8")
    return template.format(
        licence=_hub_licence(meta.licence),
        title=_cell(meta.title),
        painting=" by ".join(part for part in (f"*{work}*" if work else "one work", meta.painter) if part),
        preview=f"\n![Stylized photographs]({PREVIEW})\n" if preview else "",
        work=_cell(work or "not recorded"),
        painter=_cell(meta.painter or "not recorded"),
        rights=_cell(str(meta.training.get(PAINTING_RIGHTS, "not recorded"))),
        weights=_cell(meta.licence),
        name=meta.name,
        training=_table(("", ""), *_training_rows(meta.training)),
        figures=measured if rows else "Not measured yet; `rtstyle evaluate` measures them.",
        smallest=MIN_SIDE,
        largest=MAX_SIZE,
    )


def _painting(meta: StyleMeta) -> str:
    """Return the painting's title, or else the name of the picture or folder that it was learned from."""
    data = _part(_part(meta.training, "settings"), "data")
    return meta.work or str(data.get("style_picture") or data.get("style_pictures") or "")


def _training_rows(record: Mapping[str, Any]) -> list[tuple[str, str]]:
    settings = _part(record, "settings")
    data, generator = _part(settings, "data"), _part(settings, "generator")
    init = generator.get("init")
    found = {
        "photographs": record.get("content_pictures"),
        "started from": Path(str(init)).name if init else None,
        "steps": record.get("steps_done"),
        "batch": f"{data['batch']} of {data['crop']}×{data['crop']}" if {"batch", "crop"} <= data.keys() else None,
        "losses": _weights(_part(settings, "losses")),
        "style layers": _weights(_part(settings, "style_layers")),
        "content layers": _weights(_part(settings, "content_layers")),
        "minutes": record.get("minutes"),
        "distilled": _distilled(_part(record, "distilled")),
        "finished": record.get("finished"),
    }
    return [(name, str(value)) for name, value in found.items() if value is not None and value != ""]


def _distilled(record: Mapping[str, Any]) -> str | None:
    """Return how a style was learned again by another network, see ``train.distill``; ``None`` if it was not."""
    if not {"init", "steps"} <= record.keys():
        return None
    start = f"{record['init']} {str(record.get('init_sha256', ''))[:8]}".strip()
    told = f"what the style trained as above paints, learned again from the weights of {start}, {record['steps']} steps"
    after = _part(record, "trained_on")
    if not {"steps", "share"} <= after.keys():
        return told
    share = float(after["share"])
    mean = f"{share:g} of those weights and {1 - share:g} of the ones before"
    return f"{told}; then trained for {after['steps']} more; {mean}"


def _part(record: Mapping[str, Any], key: str) -> Mapping[str, Any]:
    found = record.get(key)
    return found if isinstance(found, Mapping) else {}


def _weights(table: Mapping[str, Any]) -> str:
    return ", ".join(f"{name} {value:g}" for name, value in table.items() if isinstance(value, int | float) and value)


def _hub_licence(licence: str) -> str:
    """Return the licence as an identifier of the Hugging Face Hub, or as ``other`` with its name."""
    if licence.lower() in _HUB_LICENCES:
        return licence.lower()
    return "unknown" if licence == "unspecified" else f"other\nlicense_name: {json.dumps(licence)}"


def _table(head: tuple[str, ...], *rows: tuple[str, ...]) -> str:
    lines = [head, ("---",) * len(head), *rows]
    return "\n".join(f"| {' | '.join(map(_cell, line))} |" for line in lines)


def _cell(text: str) -> str:
    return " ".join(text.replace("|", r"\|").split())
