"""One self-contained page: no script, no file beside it, light and dark."""

from __future__ import annotations

import base64
from collections.abc import Iterable, Sequence
from html import escape

import cv2
import numpy as np

from engines.base import RGB
from train.data import with_short_side
from train.evaluate.verdict import Verdict

SHOWN_SIDE = 300
"""Short side of a shown picture, pixels; those of strips have half of it."""

CSS = """
:root { color-scheme: light dark; --line: #8884; --soft: #8882; --text: #222; --dim: #666; --ground: #fff }
@media (prefers-color-scheme: dark) { :root { --text: #e6e6e6; --dim: #a0a0a0; --ground: #161616 } }
body { font: 16px/1.5 system-ui, sans-serif; color: var(--text); background: var(--ground);
  max-width: 70rem; margin: 2rem auto; padding: 0 1rem }
h1 { font-size: 1.6rem; margin-bottom: 0 } h2 { font-size: 1.2rem; margin-top: 2.5rem }
.dim { color: var(--dim) } .scroll { overflow-x: auto }
table { border-collapse: collapse; width: 100% }
th, td { text-align: left; padding: .35rem .7rem; border-bottom: 1px solid var(--line); vertical-align: top }
td:nth-child(2), td:nth-child(3), th:nth-child(2), th:nth-child(3) { text-align: right; white-space: nowrap;
  font-variant-numeric: tabular-nums }
td:nth-child(2) { font-weight: 600 } td:nth-child(4) { white-space: nowrap }
tbody tr:hover { background: var(--soft) }
.pairs { display: grid; grid-template-columns: repeat(auto-fill, minmax(min(100%, 30rem), 1fr)); gap: 1rem }
.pair { display: flex; gap: 4px } .pair img { width: calc(50% - 2px); height: auto; object-fit: cover }
.strip { display: flex; gap: 4px; margin-bottom: 4px; min-width: 44rem }
.strip img { flex: 1; min-width: 0; height: auto }
img { border-radius: 3px; display: block }
"""


def picture(rgb: RGB, side: int = SHOWN_SIDE, label: str = "") -> str:
    """An ``img`` with the picture inside it, at most ``side`` pixels at its short side."""
    small = with_short_side(rgb, min(side, *rgb.shape[:2]))
    bgr = np.ascontiguousarray(small[..., ::-1])
    _, data = cv2.imencode(".jpg", bgr, [cv2.IMWRITE_JPEG_QUALITY, 85])
    source = f"data:image/jpeg;base64,{base64.b64encode(data.tobytes()).decode()}"
    size = f'width="{small.shape[1]}" height="{small.shape[0]}"'
    return f'<img src="{source}" {size} alt="{escape(label)}">'


def page(verdict: Verdict, head: Sequence[str], rows: Iterable[Sequence[str]]) -> str:
    """The whole document.

    Args:
        verdict: its texts and pictures.
        head, rows: of the table, as text.
    """
    title = escape(f"{verdict.title} ({verdict.style})")
    parts = [
        f"<h1>{title}</h1>",
        '<p class="dim">How near the style is to the painting, how much of the picture it keeps, how still it holds '
        "and what it costs. “Unpainted” is the same figure for the photographs or the clip as they came.</p>",
        f'<div class="scroll"><table><thead>{_row(head, "th")}</thead>',
        f"<tbody>{''.join(_row(row, 'td') for row in rows)}</tbody></table></div>",
        *_list("Left out", [str(gap) for gap in verdict.left_out]),
        *_list("Notes", verdict.notes),
        *_pairs(verdict),
        *_strips(verdict),
    ]
    return (
        '<!DOCTYPE html>\n<html lang="en"><head><meta charset="utf-8">'
        '<meta name="viewport" content="width=device-width, initial-scale=1">'
        f"<title>{title}</title><style>{CSS}</style></head>\n<body>\n" + "\n".join(parts) + "\n</body></html>\n"
    )


def _row(cells: Sequence[str], tag: str) -> str:
    return f"<tr>{''.join(f'<{tag}>{escape(cell)}</{tag}>' for cell in cells)}</tr>"


def _list(heading: str, items: Sequence[str]) -> list[str]:
    if not items:
        return []
    return [f"<h2>{heading}</h2>", f"<ul>{''.join(f'<li>{escape(item)}</li>' for item in items)}</ul>"]


def _pairs(verdict: Verdict) -> list[str]:
    if not verdict.pairs:
        return []
    pairs = [
        f'<div class="pair">{picture(before, label="photograph")}{picture(after, label="painting")}</div>'
        for before, after in verdict.pairs
    ]
    return ["<h2>Before and after</h2>", f'<div class="pairs">{"".join(pairs)}</div>']


def _strips(verdict: Verdict) -> list[str]:
    parts = []
    for strip in verdict.strips:
        parts.append(f"<h2>{escape(strip.name)}</h2>")
        rows = (
            "".join(picture(rgb, SHOWN_SIDE // 2, label) for rgb in frames)
            for frames, label in ((strip.before, "frame"), (strip.after, "painted frame"))
        )
        strips = "".join(f'<div class="strip">{row}</div>' for row in rows)
        parts.append(f'<div class="scroll">{strips}</div>')
    return parts
