"""`rtstyle evaluate` from end to end, on a tiny style and generated pictures and clips."""

from __future__ import annotations

import io
import json
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any

import av
import numpy as np
import pytest
import torch
from rich.console import Console
from safetensors.torch import save_file

from engines.errors import SinkError, SourceError, StyleError, StylerError, TrainError
from rtstyle.cli import main
from tests.train.pages import walk
from tests.train.pictures import made, shifted, texture, write_picture, written
from train.evaluate import efficiency, inputs, run
from train.evaluate.inputs import EvaluationJob
from train.evaluate.lpips import HEADS, NETWORK, head_shapes, network_shapes
from train.evaluate.results import METRICS, Metric, Results, SkippedMetric, Strip
from train.evaluate.table import print_table, rows, save_html, value_text
from train.html import check_page
from train.losses.vgg_features import DISTILLED, WIDE

SIDE = 64


@pytest.fixture(autouse=True)
def _small(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    """Small pictures, short timing, and no feature networks but those of the test."""
    monkeypatch.setattr(inputs, "PICTURE_SIDE", SIDE)
    monkeypatch.setattr(inputs, "SQUARE", SIDE)
    monkeypatch.setattr(efficiency, "WIDTH", 64)
    monkeypatch.setattr(efficiency, "HEIGHT", 48)
    monkeypatch.setattr(run, "latencies", lambda style: efficiency.latencies(style, seconds=0.0))
    monkeypatch.setenv("RTSTYLE_FEATURES", str(tmp_path / "no-cache"))


@pytest.fixture
def clip(tmp_path: Path) -> Path:
    """A clip of six frames that moves."""
    path = tmp_path / "clip.mp4"
    with av.open(str(path), "w") as out:
        video = out.add_stream("libx264", rate=25, options={"preset": "ultrafast", "crf": "4"})
        video.width, video.height, video.pix_fmt = 160, 120, "yuv420p"
        for rgb in shifted(6, 3, 1):
            out.mux(video.encode(av.VideoFrame.from_ndarray(np.ascontiguousarray(rgb), format="rgb24")))
        out.mux(video.encode(None))
    return path


@pytest.fixture
def features(narrow_features: Path, tmp_path: Path) -> Path:
    """All feature networks, untrained."""
    folder = tmp_path / "features"
    folder.mkdir()
    for name in (WIDE, DISTILLED):
        (folder / name).write_bytes((narrow_features / name).read_bytes())
    rng = torch.Generator().manual_seed(0)
    for name, shapes in ((NETWORK, network_shapes()), (HEADS, head_shapes())):
        save_file({key: 0.1 * torch.rand(shape, generator=rng) for key, shape in shapes.items()}, folder / name)
    return folder


@pytest.fixture
def without_scikit_image(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(inputs, "photographs", lambda count, side: [])


def test_everything_at_once(
    tiny_style: Path, photos: Path, painting: Path, features: Path, clip: Path, tmp_path: Path,
    capfd: pytest.CaptureFixture[str],
) -> None:  # fmt: skip
    html = tmp_path / "page.html"
    options = ["--content", photos, "--painting", painting, "--style-pictures", photos, "--features", features]
    options += ["--paintings", photos]
    code = main([str(x) for x in ["evaluate", tiny_style, *options, "--clip", clip, "--clip", clip, "--html", html,
                                  "--pictures", 3, "--json"]])  # fmt: skip
    out, err = capfd.readouterr()
    assert code == 0, err
    assert err == "" and out.count("\n") == 1
    results: dict[str, Any] = json.loads(out)
    assert results["style"] == "tiny" and results["left_out"] == []
    assert {figure["name"] for figure in results["figures"]} == set(METRICS)
    assert all(np.isfinite(figure["value"]) for figure in results["figures"])
    values = {figure["name"]: figure for figure in results["figures"]}
    assert values["style_ratio"]["value"] == pytest.approx(
        values["style_distance"]["value"] / values["style_distance"]["unpainted"]
    )
    assert values["ewarp"]["of"] == "mean of the clips"
    assert values["own_painting"]["of"].startswith("against photo_")
    assert any("not Inception-FID" in note and WIDE in note for note in results["notes"])
    text = html.read_text()
    page = walk(text)
    assert page.sources and all(source.startswith("data:") for source in page.sources)
    assert len(page.sources) == 3 + 2
    shown = [f"photo_{number}.png, before and after" in text for number in range(6)]
    assert sum(shown) == 3, "each pair has its name"
    assert all(meaning.label in text for meaning in METRICS.values())


def test_with_nothing_but_the_style(
    tiny_style: Path, without_scikit_image: None, capfd: pytest.CaptureFixture[str]
) -> None:
    assert main(["evaluate", str(tiny_style)]) == 0
    out, err = capfd.readouterr()
    assert "parameters" in out and "multiply-adds" in out and "latency" in out and "SSIM" not in out
    for flag in ("--content", "--features", "--painting", "--style-pictures", "--clip"):
        assert flag in out
    assert "timing" in err


def test_without_content_the_photographs_of_scikit_image_are_painted(tiny_style: Path) -> None:
    pytest.importorskip("skimage")
    results = run.evaluate(EvaluationJob(str(tiny_style)))
    names = [figure.name for figure in results.figures]
    assert "ssim" in names and "noise" in names and "style_distance" not in names
    assert any("scikit-image" in note for note in results.notes)


def test_without_networks_pictures_and_clips_are_still_measured(tiny_style: Path, photos: Path, clip: Path) -> None:
    results = run.evaluate(EvaluationJob(str(tiny_style), content=photos, clips=(clip,), pictures=2))
    assert {"ssim", "noise", "ewarp", "e_stab"} <= {figure.name for figure in results.figures}
    assert any("feature networks" in gap.why for gap in results.left_out)


def test_networks_that_training_has_downloaded_are_found(
    tiny_style: Path, photos: Path, features: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("RTSTYLE_FEATURES", str(features))
    results = run.evaluate(EvaluationJob(str(tiny_style), content=photos, pictures=2))
    assert {"content_distance", "diversity", "lpips"} <= {figure.name for figure in results.figures}


def test_each_figure_names_the_network_that_it_comes_from(tiny_style: Path, photos: Path, features: Path) -> None:
    results = run.evaluate(
        EvaluationJob(str(tiny_style), content=photos, style_pictures=photos, features=features, pictures=2)
    )
    (distances,) = (note for note in results.notes if "Style distances" in note)
    assert f"content distance and diversity by relu4_1 of {DISTILLED}" in distances
    assert f"Style distances use {WIDE}" in distances
    assert any(f"relu3_1 of {WIDE}" in note for note in results.notes)


def test_a_clip_of_unrelated_pictures_is_left_out(
    tiny_style: Path, clip: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    unrelated = inputs.Clip("slides.mp4", [texture(120, 160, seed) for seed in range(3)])
    monkeypatch.setattr(inputs, "read_clip", lambda path: unrelated)
    results = run.evaluate(EvaluationJob(str(tiny_style), clips=(clip,)))
    assert "ewarp" not in {figure.name for figure in results.figures}
    assert any("slides.mp4" in gap.figures for gap in results.left_out) and len(results.strips) == 1


def test_damaged_pictures_are_left_out_by_name(tiny_style: Path, photos: Path) -> None:
    (photos / "broken.png").write_bytes(b"rubbish")
    write_picture(photos / "dot.png", texture(1, 1, 0))
    write_picture(photos / "stripe.png", texture(20, 400, 0))
    results = run.evaluate(EvaluationJob(str(tiny_style), content=photos))
    note = next(note for note in results.notes if "left out" in note)
    assert all(name in note for name in ("broken.png", "dot.png", "stripe.png"))
    assert any("6 pictures" in note for note in results.notes)


def test_one_photograph_is_enough_for_what_needs_one(tiny_style: Path, photos: Path, features: Path) -> None:
    for path in sorted(photos.iterdir())[1:]:
        path.unlink()
    results = run.evaluate(EvaluationJob(str(tiny_style), content=photos, style_pictures=photos, features=features))
    names = {figure.name for figure in results.figures}
    assert "lpips" in names and not names & {"diversity", "feature_fid"}
    assert any("two or more pictures" in gap.why for gap in results.left_out)


Broken = Callable[[Path, Path], dict[str, Any]]


@pytest.mark.parametrize(
    ("broken", "error", "problem"),
    [
        (lambda tmp, photos: {"style": "no-such-style"}, StyleError, "no-such-style"),
        (lambda tmp, photos: {"content": tmp / "none"}, TrainError, "no such folder"),
        (lambda tmp, photos: {"content": made(tmp / "empty")}, TrainError, "no pictures in"),
        (lambda tmp, photos: {"style_pictures": tmp / "none"}, TrainError, "no such folder"),
        (lambda tmp, photos: {"painting": tmp / "none.png"}, TrainError, "cannot read"),
        (lambda tmp, photos: {"painting": written(tmp / "a.png", b"text")}, TrainError, "not a picture"),
        (lambda tmp, photos: {"clips": (tmp / "none.mp4",)}, SourceError, "none.mp4"),
        (lambda tmp, photos: {"clips": (written(tmp / "a.mp4", b"text"),)}, SourceError, "a.mp4"),
        (lambda tmp, photos: {"clips": (write_picture(tmp / "a.png", texture(40, 40, 0)),)}, TrainError, "two frames"),
        (lambda tmp, photos: {"features": tmp / "none"}, TrainError, "no such folder"),
    ],
)
def test_bad_input_is_one_clear_error(
    tiny_style: Path, photos: Path, tmp_path: Path, broken: Broken, error: type[StylerError], problem: str
) -> None:
    with pytest.raises(error, match=problem):
        run.evaluate(EvaluationJob(**{"style": str(tiny_style), "content": photos, **broken(tmp_path, photos)}))


def test_a_folder_of_rubbish_names_the_first(tiny_style: Path, tmp_path: Path) -> None:
    folder = made(tmp_path / "rubbish")
    written(folder / "a.jpg", b"text")
    with pytest.raises(TrainError, match=r"can be used: .*a\.jpg"):
        run.evaluate(EvaluationJob(str(tiny_style), content=folder))


def test_a_page_that_cannot_be_written_fails_before_the_work(
    tiny_style: Path, tmp_path: Path, capfd: pytest.CaptureFixture[str]
) -> None:
    for target in (tmp_path / "none" / "page.html", tmp_path):
        assert main(["evaluate", str(tiny_style), "--html", str(target)]) == 1
        out, err = capfd.readouterr()
        assert out == "" and len(err.splitlines()) == 2 and str(tmp_path) in err


def test_a_page_replaces_no_picture(tiny_style: Path, painting: Path, capfd: pytest.CaptureFixture[str]) -> None:
    before = painting.read_bytes()
    assert main(["evaluate", str(tiny_style), "--painting", str(painting), "--html", str(painting)]) == 1
    assert f"{painting} already exists" in capfd.readouterr().err and painting.read_bytes() == before


def test_a_file_in_place_of_a_folder_is_called_a_file(tiny_style: Path, painting: Path) -> None:
    with pytest.raises(TrainError, match="is a file") as caught:
        run.evaluate(EvaluationJob(str(tiny_style), content=painting))
    assert "--content" in caught.value.hint


def test_a_damaged_painting_has_a_hint(tiny_style: Path, tmp_path: Path) -> None:
    with pytest.raises(TrainError, match="not a picture") as caught:
        run.evaluate(EvaluationJob(str(tiny_style), painting=written(tmp_path / "a.png", b"text")))
    assert "--painting" in caught.value.hint


def test_too_few_pictures_are_wrong_usage(tiny_style: Path, capfd: pytest.CaptureFixture[str]) -> None:
    assert main(["evaluate", str(tiny_style), "--pictures", "1"]) == 2
    assert "--pictures" in capfd.readouterr().err


def test_hostile_names_are_text_on_the_page(tmp_path: Path) -> None:
    frames = [texture(24, 32, seed) for seed in range(3)]
    evil = "<script>alert(1)</script>"
    results = Results(
        evil, evil, [Metric("ewarp", 0.1, 0.2, evil)], [SkippedMetric(evil, evil, evil)], [evil],
        strips=[Strip(evil, frames, frames)],
    )  # fmt: skip
    save_html(tmp_path / "page.html", results)
    text = (tmp_path / "page.html").read_text()
    assert "<script>" not in text and text.count("&lt;script&gt;") >= 6
    assert [path.name for path in tmp_path.iterdir()] == ["page.html"]


def test_a_narrow_terminal_keeps_names_in_one_piece_and_all_meanings() -> None:
    name = "camera-in-the-street-by-night.mp4"
    results = Results("wave", "wave", [Metric("ewarp", 0.1, 0.2, name), Metric("ssim", 0.5)], [], [])
    for width in (80, 120, 200):
        console = Console(width=width, record=True, file=io.StringIO())
        print_table(results, console)
        text = console.export_text()
        assert f"Ewarp · {name}" in text
        assert all(METRICS[key].text in text for key in ("ewarp", "ssim"))
        assert "wave (wave)" not in text
    assert replace(results, title="The Wave").heading == "The Wave (wave)"


def test_values_are_short_and_repeated_explanations_are_not() -> None:
    assert [value_text(x) for x in (None, 0.0123456, 1.0, 12.3456, 123456.7)] == ["", "0.0123", "1", "12.3", "123,457"]
    assert value_text(391900) == "391,900" and value_text(1.685, "G") == "1.69 G"
    first, second = rows([Metric("ewarp", 0.1, 0.2, "a.mp4"), Metric("ewarp", 0.3, 0.4, "b.mp4")])
    assert first[3:] == ("↓ lower", METRICS["ewarp"].text) and second[3:] == ("", "")
    assert second[0] == "Ewarp · b.mp4"


def test_a_writable_place_is_none_that_is_a_file(tmp_path: Path) -> None:
    file = written(tmp_path / "file", b"")
    check_page(file, "--html")
    with pytest.raises(SinkError, match="no such folder"):
        check_page(file / "page.html", "--html")
