"""Build the HTML report of a run."""

from __future__ import annotations

import math
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any, Literal

from train.html import Html, document, element, figure, join, markup, section, table, write_page
from train.report.axis import number
from train.report.curves import discriminator, gradient, losses, pace, temporal_consistency
from train.report.history import Entry, History
from train.report.timeline import Sheet, sheets

REPORT = "report.html"
"""Name of the page in the run folder."""

REFRESH_S = 20
"""Interval at which a browser reloads the page of a running training, seconds."""

STALE_MIN = 15
"""Minutes without an update after which the page says that the run may have been killed."""

AGE = f"""
const written = document.querySelector("time[data-live]");
function update() {{
  const minutes = Math.floor((Date.now() - Date.parse(written.dateTime)) / 60000);
  const age = minutes < 120 ? minutes + " min ago" : Math.floor(minutes / 60) + " hours ago";
  written.textContent = minutes < 1 ? "just now" : age;
  document.getElementById("stale").hidden = minutes < {STALE_MIN};
}}
if (written) {{ update(); setInterval(update, 10000); }}
"""
"""A killed run cannot update its page, so the page tracks its own age."""

State = Literal["running", "stopped", "finished", "failed"]

STATES: Mapping[State, str] = {
    "running": "Training",
    "stopped": "Stopped",
    "finished": "Finished",
    "failed": "Failed",
}


@dataclass(frozen=True)
class Status:
    """Progress of a run: the share that is done, 0 … 1, the training time, and a warning or cause of the failure."""

    share: float
    seconds: float
    seconds_left: float | None
    state: State
    message: str = ""


def write_report(out: Path, history: History, settings: Mapping[str, Any], status: Status) -> None:
    """Write ``report.html`` atomically into the run folder, with the contact sheets there, ``sheet-*.jpg``.

    Raises:
        TrainError: it cannot be written.
    """
    entries, pictures = history.entries, sheets(out)
    name, subject = _subject(settings)
    body = [
        _head(name, subject, entries, status),
        *([_newest(pictures[-1])] if pictures else []),
        losses(entries, settings),
        *gradient(entries),
        *discriminator(entries),
        *temporal_consistency(entries),
        pace(entries),
        *([_timeline(pictures)] if len(pictures) > 1 else []),
        _recipe(settings),
        element("footer", f"Written {_time(datetime.now(UTC))} by rtstyle."),
    ]
    running = status.state == "running"
    title = f"{100 * status.share:.0f} % · {name}" if running else f"{STATES[status.state]} · {name}"
    page = document(title, *body, refresh=REFRESH_S if running else None, script=AGE if running else "")
    write_page(out / REPORT, page)


def in_words(seconds: float) -> str:
    """Format a duration: less than a minute, 1 minute, 35 minutes, 2 hours 5 minutes."""
    minutes = round(seconds / 60)
    if minutes < 1:
        return "less than a minute"
    hours, minutes = divmod(minutes, 60)
    parts = [f"{count} {unit}{'s' * (count != 1)}" for count, unit in ((hours, "hour"), (minutes, "minute")) if count]
    return " ".join(parts)


def _subject(settings: Mapping[str, Any]) -> tuple[str, str]:
    """Return the name of the style and a description of what it learns from."""
    values = dict(_flat(settings))
    painting, works = values.get("data.style_picture"), values.get("data.style_pictures")
    name = values.get("run.name") or (Path(str(painting or works)).stem if painting or works else "style")
    sources = [f"the painting {painting}"] if painting else []
    sources += [f"the pictures in {works}"] if works else []
    return str(name), " and ".join(sources)


def _head(name: str, subject: str, entries: Sequence[Entry], status: Status) -> Html:
    started = _started(entries)
    about = ["A style trained on ", element("b", subject)] if subject else ["A style"]
    about += [f", started {_time(started)}"] if started else []
    running = status.state == "running"
    stale = element(
        "p",
        f"No update for {STALE_MIN} minutes. Unless the computer was asleep, the run was killed. Run the same command "
        "with --resume to continue from its last checkpoint.",
        class_="note bad",
        id="stale",
        hidden=True,
    )
    return join([
        element("h1", name),
        element("p", *about, ".", class_="lead"),
        element("p", *_state(status), class_=f"state {status.state}"),
        element("div", element("span", style=f"width: {100 * status.share:.1f}%"), class_="bar"),
        element("p", status.message, class_=f"note{' bad' * (status.state == 'failed')}") if status.message else "",
        stale if running else "",
        _tiles(entries, status),
    ])  # fmt: skip


def _state(status: Status) -> Iterator[object]:
    yield element("b", STATES[status.state])
    if status.state == "finished":
        yield f" after {in_words(status.seconds)}."
        return
    yield f": {100 * status.share:.0f} % done after {in_words(status.seconds)}"
    if status.state == "running":
        left = status.seconds_left
        yield f", {_about(left)} left. " if left is not None and math.isfinite(left) else ". "
        now = datetime.now(UTC)
        yield join(["Updated ", element("time", _time(now), datetime=now.isoformat(), data_live=True), "."])
    elif status.state == "stopped":
        yield ". Run the same command with --resume to continue."
    else:
        yield "."


def _about(seconds: float) -> str:
    words = in_words(seconds)
    return words if words.startswith("less") else f"about {words}"


def _tiles(entries: Sequence[Entry], status: Status) -> Html:
    tiles = []
    if entries:
        last = entries[-1]
        tiles.append(("Step", f"{last.step:,}"))
        if last.seconds > 0:
            tiles.append(("Steps per minute", number(float(f"{60 * last.step / last.seconds:.2g}"))))
    tiles.append(("Trained for", in_words(status.seconds)))
    if entries and entries[-1].data_wait is not None:
        tiles.append(("Waiting for pictures", f"{100 * entries[-1].data_wait:.1f} %"))
    return element(
        "dl", *(element("div", element("dt", key), element("dd", value)) for key, value in tiles), class_="tiles"
    )


def _started(entries: Sequence[Entry]) -> datetime | None:
    """Return the time of the first step, from the first entry."""
    if not entries:
        return None
    try:
        first = datetime.fromisoformat(entries[0].at).astimezone(UTC)
        return first - timedelta(seconds=entries[0].seconds)
    except (ValueError, OverflowError):
        return None


def _time(when: datetime) -> str:
    return f"{when.astimezone():%Y-%m-%d %H:%M %Z}".strip()


def _newest(sheet: Sheet) -> Html:
    return section(
        "Latest result",
        "Training photographs above, stylized below. Check faces, plain skies and thin lines, where styles fail first.",
        figure(sheet.picture, f"step {sheet.step:,}", class_="large"),
    )


def _timeline(pictures: Sequence[Sheet]) -> Html:
    return section(
        "Progress",
        "The same photographs from the start of the run to now. Once neighbours look alike, more of the same training "
        "changes little.",
        element("div", *(figure(sheet.picture, f"step {sheet.step:,}") for sheet in pictures), class_="grid wide"),
    )


def _recipe(settings: Mapping[str, Any]) -> Html:
    sections: dict[str, list[tuple[str, object]]] = {}
    for key, value in _flat(settings):
        group, _, name = key.rpartition(".")
        sections.setdefault(group, []).append((name.replace("_", " "), _setting(value)))
    tables = [element("div", element("h3", group) if group else "", table(rows)) for group, rows in sections.items()]
    return section(
        "Recipe",
        "Every setting of this run, enough to repeat it with the same pictures.",
        element("div", *tables, class_="recipe"),
    )


def _flat(settings: Mapping[str, Any], before: str = "") -> Iterator[tuple[str, Any]]:
    for key, value in settings.items():
        if isinstance(value, Mapping):
            yield from _flat(value, f"{before}{key}.")
        else:
            yield f"{before}{key}", value


def _setting(value: Any) -> Html:
    if isinstance(value, bool):
        return markup("yes" if value else "no")
    if value is None or value == "":
        return markup("–")
    return markup(number(value) if isinstance(value, float) else value)
