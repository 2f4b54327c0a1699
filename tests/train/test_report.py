"""The report: whole, self-contained, and safe whatever the names are."""

from __future__ import annotations

import base64
import re
from collections.abc import Callable
from dataclasses import fields, replace
from pathlib import Path
from typing import Any

import cv2
import numpy as np
import pytest

from engines.errors import TrainError
from tests.train.pages import walk
from tests.train.pictures import texture, write_picture
from train import html as html_page
from train.config.schema import LossWeights
from train.report import REPORT, State, Status, glossary, in_words, timeline, write_report
from train.report.history import Entry, History

TERMS = ("total", "content", "style", "adversarial", "feature_matching", "temporal", "noise", "tone", "variation")
SETTINGS: dict[str, Any] = {
    "data": {"style_picture": "starry night.jpg", "style_pictures": None, "batch": 4},
    "losses": {"style": 10.0, "variation": 0.0},
    "run": {"name": "vangogh", "seed": 1},
}
STEADINESS = {"ewarp": 0.0021, "e_stab": 0.037, "ewarp_unpainted": 0.0004, "e_stab_unpainted": 0.019}
HOSTILE = """</style></title><script src=x onerror="alert(1)">'&\u202e\udcff"""


def history(path: Path, steps: int = 400, adversarial: bool = True) -> History:
    """Curves of every kind: falling over decades, rising, absent at first, not finite at the end."""
    run = History(path)
    for step in range(5, steps + 1, 5):
        losses = {name: 10 ** (-step / 200) * (1 + i) for i, name in enumerate(TERMS)}
        losses["adversarial"] = 0.0 if step < 100 else 0.5
        losses["noise"] = float("nan") if step == steps else 1e-6 * step
        shares = {name: 1 / (i + 1) for i, name in enumerate(TERMS[1:])} if step % 10 == 0 else {}
        game = {"discriminator": 0.4, "penalty": 0.03, "accuracy": 0.7, "diversity": 0.9}
        run.add(
            Entry(step, 0.6 * step, 1e-3, losses, shares, STEADINESS if step % 100 == 0 else {}, data_wait=0.012,
                  **game if adversarial and step >= 100 else {})
        )  # fmt: skip
    return run


def status(state: State = "running", message: str = "") -> Status:
    return Status(share=0.4, seconds=1500, seconds_left=2300, state=state, message=message)


@pytest.fixture
def report(tmp_path: Path) -> Callable[..., str]:
    """Writes a report and gives it back."""

    def write(run: History | None = None, settings: dict[str, Any] = SETTINGS, at: Status | None = None) -> str:
        write_report(tmp_path, run or history(tmp_path / "history.jsonl"), settings, at or status())
        return (tmp_path / REPORT).read_text(encoding="utf-8")

    return write


def test_it_is_one_whole_page_with_every_term(report: Callable[..., str]) -> None:
    walked = walk(report())
    text = " ".join(walked.text)
    for term in TERMS:
        assert term.replace("_", " ") in text
    for shown in (
        "vangogh", "starry night.jpg", "40 % done after 25 minutes", "about 38 minutes left", "ewarp", "0.0021",
        "0.0004", "e_stab", "0.037", "0.019", "input", "accuracy of the discriminator", "loss of the discriminator",
        "gradient penalty", "learning rate", "share of the gradient", "seed", "1.2 %",
    ):  # fmt: skip
        assert shown in text
    assert sum(tag == "svg" for tag, _ in walked.starts) == len(TERMS) + 9
    assert not {"critic", "painter"} & set(re.findall(r"\w+", text.lower())), "the field's words"


def test_nothing_comes_from_outside(report: Callable[..., str], tmp_path: Path) -> None:
    write_picture(tmp_path / "sheet-000250.jpg", texture(90, 120, 0))
    text = report()
    assert "://" not in text and "@import" not in text and "url(" not in text
    sources = [attrs for _, attrs in walk(text).starts if attrs.keys() & {"src", "href", "data"}]
    assert sources and all((attrs["src"] or "").startswith("data:image/jpeg;base64,") for attrs in sources)


@pytest.mark.parametrize("state", ["running", "stopped", "finished", "failed"])
def test_it_refreshes_itself_only_while_running(report: Callable[..., str], state: State) -> None:
    text = report(at=status(state))
    refreshes = [attrs for _, attrs in walk(text).starts if attrs.get("http-equiv") == "refresh"]
    assert [attrs["content"] for attrs in refreshes] == (["20"] if state == "running" else [])
    assert ("<script>" in text) is (state == "running"), "only a running page can grow stale"
    assert ("--resume" in " ".join(walk(text).text)) is (state in {"running", "stopped"})


def test_what_went_wrong_is_said(report: Callable[..., str]) -> None:
    text = report(at=status("failed", "the loss term style is nan at step 300 < 400"))
    assert "the loss term style is nan at step 300 &lt; 400" in text and 'class="note bad"' in text


def test_hostile_names_are_text(report: Callable[..., str], tmp_path: Path) -> None:
    one = Entry(1, 1.0, 1e-3, {HOSTILE: 1.0}, {HOSTILE: 0.7, "style": 0.3}, at=HOSTILE)
    run = History(tmp_path / "hostile.jsonl", [one, replace(one, step=2)])
    settings = {HOSTILE: HOSTILE, "run": {"name": HOSTILE}, "data": {"style_picture": HOSTILE}, "losses": HOSTILE}
    text = report(run, settings, status("failed", HOSTILE))
    walked = walk(text)
    assert not any(tag == "script" or "onerror" in attrs for tag, attrs in walked.starts)
    visible = HOSTILE.replace("\udcff", "?")
    assert sum(visible in part for part in walked.text) >= 8, "shown as it is, wherever it comes up"


@pytest.mark.parametrize(
    "settings", [{}, {"run": None, "losses": {"style": "x"}}, {"data": {"style_pictures": "works"}}]
)
def test_any_settings_will_do(report: Callable[..., str], settings: dict[str, Any]) -> None:
    walk(report(settings=settings))


def test_before_the_first_step_there_is_a_page(report: Callable[..., str], tmp_path: Path) -> None:
    text = report(History(tmp_path / "none.jsonl"), at=Status(0.0, 0.0, None, "running"))
    assert "No values have been logged yet" in text and "0 % done after less than a minute" in text
    walk(text)


def test_a_single_step_is_drawn(report: Callable[..., str], tmp_path: Path) -> None:
    run = History(tmp_path / "one.jsonl", [Entry(1, 0.0, 0.0, {"style": 1.0}, {"style": 1.0})])
    walk(report(run, at=Status(0.01, 0.0, float("inf"), "running")))


def test_gradient_shares_are_shown_from_the_second_measurement_on(report: Callable[..., str], tmp_path: Path) -> None:
    one = Entry(1, 1.0, 1e-3, {"style": 1.0}, {"style": 1.0})
    assert "Gradient shares" not in report(History(tmp_path / "one.jsonl", [one]))
    assert "Gradient shares" in report(History(tmp_path / "two.jsonl", [one, replace(one, step=2)]))


def test_the_last_moment_is_not_about(report: Callable[..., str]) -> None:
    text = report(at=Status(0.9, 200.0, 12.0, "running"))
    assert ", less than a minute left" in text and "about less" not in text


def test_a_run_with_one_network_says_nothing_of_another(report: Callable[..., str], tmp_path: Path) -> None:
    heading = "Generator against discriminator"
    assert heading in report()
    assert heading not in report(history(tmp_path / "plain.jsonl", adversarial=False))


def test_temporal_consistency_is_there_where_it_was_measured(report: Callable[..., str], tmp_path: Path) -> None:
    assert "<h2>Temporal consistency" in report()
    short = history(tmp_path / "short.jsonl", steps=95)
    assert "<h2>Temporal consistency" not in report(short)
    short.add(Entry(100, 60.0, 1e-3, {}, {}, {"ewarp": float("nan"), "e_stab": 0.0, "e_stab_unpainted": 0.0}))
    walk(report(short))


def test_every_explained_term_has_a_weight() -> None:
    """A term that none fills would never be shown."""
    assert glossary.MEANING.keys() == {"total"} | {weight.name for weight in fields(LossWeights)}


def test_a_long_run_and_its_sheets_stay_under_three_megabytes(report: Callable[..., str], tmp_path: Path) -> None:
    rng = np.random.default_rng(0)
    worst = [rng.integers(0, 256, (432, 1152, 3), dtype=np.uint8) for _ in range(2)]
    for step in range(250, 5001, 250):
        write_picture(tmp_path / f"sheet-{step:06d}.jpg", worst[step // 250 % 2])
    names = [f"term {i}" for i in range(15)]
    steps = range(1, 1501)  # at 500 points for each curve the page grows no more
    noise = [dict(zip(names, rng.random(len(names)).tolist(), strict=True)) for _ in steps]
    entries = [Entry(step, float(step), 1e-3, losses, losses) for step, losses in zip(steps, noise, strict=True)]
    run = History(tmp_path / "long.jsonl", entries)
    text = report(run)
    assert len(text.encode()) < 3_000_000
    shown = re.findall(r"<h3>step ([\d,]+)</h3>", text)
    assert shown == ["5,000", "250", "1,000", "1,500", "2,250", "3,000", "3,750", "4,250", "5,000"]


def test_damaged_and_foreign_pictures_are_left_out(report: Callable[..., str], tmp_path: Path) -> None:
    write_picture(tmp_path / "sheet-000100.jpg", texture(90, 120, 0))
    (tmp_path / "sheet-000200.jpg").write_bytes(b"\xff\xd8\xff cut")
    (tmp_path / "sheet-000300.jpg").mkdir()
    write_picture(tmp_path / "sheet-of-the-cat.jpg", texture(90, 120, 0))
    text = report()
    assert re.findall(r"<h3>step ([\d,]+)</h3>", text) == ["100"]


def test_a_sheet_is_shrunk_once_and_again_when_it_changes(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    reads: list[Path] = []
    original = timeline.read_picture

    def counted(path: Path) -> Any:
        reads.append(path)
        return original(path)

    monkeypatch.setattr(timeline, "read_picture", counted)
    path = write_picture(tmp_path / "sheet-000100.jpg", texture(90, 2000, 0))
    (first,), (again,) = timeline.sheets(tmp_path), timeline.sheets(tmp_path)
    assert first == again and len(reads) == 1
    write_picture(path, texture(90, 120, 1))
    assert timeline.sheets(tmp_path) != [first] and len(reads) == 2


def test_a_failed_write_leaves_the_old_page(
    report: Callable[..., str], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    before = report()

    def full(*_: object, **__: object) -> None:
        raise OSError(28, "No space left on device")

    monkeypatch.setattr(Path, "replace", full)
    with pytest.raises(TrainError, match="No space left") as caught:
        report(at=status("finished"))
    assert caught.value.hint
    assert (tmp_path / REPORT).read_text(encoding="utf-8") == before
    assert not list(tmp_path.glob(".report*"))


@pytest.mark.parametrize(
    ("seconds", "words"),
    [(0, "less than a minute"), (29, "less than a minute"), (31, "1 minute"), (2100, "35 minutes"), (3600, "1 hour"),
     (7500, "2 hours 5 minutes"), (90_061, "25 hours 1 minute")],
)  # fmt: skip
def test_time_in_words(seconds: float, words: str) -> None:
    assert in_words(seconds) == words


def test_text_is_escaped_once_and_markup_never() -> None:
    inner = html_page.element("b", "a < b & c")
    assert inner == "<b>a &lt; b &amp; c</b>"
    assert (
        html_page.element("p", inner, "x", title='"q"', hidden=True, id=None)
        == f'<p title="&quot;q&quot;" hidden>{inner}x</p>'
    )
    assert html_page.join(["<", inner], "&") == f"&lt;&amp;{inner}"
    assert html_page.element("img", alt=0) == '<img alt="0">'


def test_a_picture_in_a_page_is_the_file(tmp_path: Path) -> None:
    data = write_picture(tmp_path / "x.png", texture(20, 30, 0)).read_bytes()
    source = re.search(r'src="data:image/png;base64,([^"]+)"', html_page.picture(data, "x", "png"))
    assert source is not None
    again = cv2.imdecode(np.frombuffer(base64.b64decode(source[1]), np.uint8), cv2.IMREAD_COLOR)
    assert again is not None and again.shape == (20, 30, 3)
