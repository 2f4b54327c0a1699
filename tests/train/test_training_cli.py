"""`rtstyle train` and `python -m train`."""

from __future__ import annotations

import importlib.util
import os
import re
import shutil
import signal
import subprocess
import sys
import tomllib
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from engines.errors import StyleError, TrainError
from engines.install_hint import pip_install
from engines.style_file import StyleModel
from rtstyle import style_library
from rtstyle.cli import main as command_line
from train import checkpoint
from train.__main__ import main
from train.checkpoint import CHECKPOINT
from train.config.recipe import recipes, resolve

ROOT = Path(__file__).resolve().parents[2]


SIGNALS = [signal.SIGINT, signal.SIGTERM, signal.SIGHUP]


@pytest.fixture(autouse=True)
def _signals() -> Iterator[None]:
    """Nothing is ignored, as it would be under nohup or in the background of a script."""
    kept = {number: signal.signal(number, signal.SIG_DFL) for number in SIGNALS}
    yield
    for number, handler in kept.items():
        signal.signal(number, handler)


def run_module(*arguments: str) -> subprocess.CompletedProcess[str]:
    """`python -m train …`."""
    command = [sys.executable, "-m", "train", *arguments]
    return subprocess.run(command, cwd=ROOT, capture_output=True, text=True, timeout=120, check=False)


def test_help(capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["--help"]) == 0
    text = capsys.readouterr().out
    assert "--style-picture" in text and "--resume" in text and "runs/wave" in text


def test_the_help_has_every_option_under_a_heading(capsys: pytest.CaptureFixture[str]) -> None:
    main(["--help"])
    blocks = re.split(r"\n(?=\S.*:\n)", capsys.readouterr().out)
    headings = [block.partition(":\n")[0] for block in blocks[1:]]
    assert headings[:2] == ["Training data", "Recipe"] and headings[-1] == "Options"
    assert re.findall("--[a-z-]+", blocks[-1]) == ["--help"]
    assert all(f"\n    {name} " in blocks[-1] for name in recipes())


@pytest.mark.parametrize("arguments", [["--help"], ["--recipe", "fast", "--set", "losses.stile=1"]])
def test_help_and_faults_do_not_wait_for_torch(arguments: list[str]) -> None:
    code = (
        f"import sys\nfrom rtstyle.cli import main\nmain(['train', *{arguments!r}])\nsys.exit('torch' in sys.modules)"
    )
    done = subprocess.run([sys.executable, "-c", code], cwd=ROOT, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr
    assert "--style-picture" in done.stdout or "did you mean losses.style?" in done.stderr


def test_torch_that_is_not_installed_is_told_with_the_line_that_adds_it(
    arguments: list[str], monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setitem(sys.modules, "torch", None)
    assert command_line(["train", *arguments]) == 1
    assert pip_install("train") in capsys.readouterr().err


def misused(capsys: pytest.CaptureFixture[str], *arguments: str) -> list[str]:
    """What wrong usage says."""
    capsys.readouterr()
    assert command_line(["train", *arguments]) == 2
    return capsys.readouterr().err.splitlines()


def test_bad_settings_are_told_together_a_line_each(
    arguments: list[str], tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    recipe = tmp_path / "mine.toml"
    recipe.write_text("[losses]\nnoise = -1.0")
    lines = misused(
        capsys, *arguments, "--batch", "0", "--crop", "13", "--set", "losses.stile=2", "--recipe", str(recipe)
    )
    assert lines == [
        "rtstyle: unknown setting losses.stile (did you mean losses.style?)",
        "rtstyle: --batch must be at least 1, got 0",
        "rtstyle: --crop must be a multiple of 8, got 13",
        "rtstyle: mine.toml: losses.noise must be at least 0, got -1.0",
    ]


def test_what_is_missing_is_told(capsys: pytest.CaptureFixture[str]) -> None:
    assert misused(capsys) == [
        "rtstyle: --style-picture or --style-pictures must be given",
        "hint: see `rtstyle train --help`",
    ]


@pytest.mark.parametrize(
    ("wrong", "line"),
    [
        (["--minutes", "-1"], "--steps and --minutes are both given"),
        (["--steps", "0"], "--steps must be at least 1, got 0"),
        (["--recipe", "fats"], "no recipe 'fats' (did you mean fast?)"),
        (["--set", "losses.style=1e99"], "losses.style must be at most 1000000000, got 1e+99"),
        (["--crop", "100000"], "--crop must be at most 4096, got 100000"),
    ],
)
def test_a_wrong_setting_is_wrong_usage(
    arguments: list[str], capsys: pytest.CaptureFixture[str], wrong: list[str], line: str
) -> None:
    assert misused(capsys, *arguments, *wrong)[0].startswith(f"rtstyle: {line}")


def test_every_setting_of_the_command_line_has_the_option_that_its_faults_name(
    capsys: pytest.CaptureFixture[str],
) -> None:
    main(["--help"])
    known = set(re.findall("--[a-z-]+", capsys.readouterr().out))
    with pytest.MonkeyPatch.context() as patch:
        seen: dict[str, str] = {}
        patch.setattr("train.__main__.resolve", lambda *_, options, **__: seen.update(options) or resolve("fast"))
        assert command_line(["train"]) == 2
    assert len(seen) > 20 and set(seen.values()) <= known


def test_a_recipe_alone_can_be_shown(capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["--recipe", "fast", "--show"]) == 0
    text = capsys.readouterr().out
    assert "\n# content\n" in text and tomllib.loads(text)["schedule"]["minutes"] == 60


@pytest.mark.parametrize("option", ["--content", "--style-pictures", "--clips"])
def test_a_run_does_not_lie_in_what_it_learns_from(
    arguments: list[str], photos: Path, capsys: pytest.CaptureFixture[str], option: str
) -> None:
    elsewhere = [] if option == "--content" else ["--content", str(photos.parent / "other")]
    for out in (photos, photos / "runs" / ".." / "runs" / "one"):
        (line, *_) = misused(capsys, *arguments, *elsewhere, option, str(photos), "--out", str(out))
        assert f"lies in {option} {photos}" in line
    assert not (photos / "runs").exists()


def test_a_finished_run_is_not_finished_again(
    arguments: list[str], tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    assert main(arguments) == 0
    said = capsys.readouterr().err.splitlines()
    assert "saving the style" in said
    steps = [line for line in said if " step " in line]
    assert len(steps) == 2 and " 50.0%" in steps[0] and "100.0%" in steps[1]
    assert all(re.search(r" step \d+  total [\d.,]+  content ", line) for line in steps)
    before = {path: path.stat().st_mtime_ns for path in (tmp_path / "run").rglob("*")}
    assert main([*arguments, "--resume"]) == 0
    assert "already finished; give more --steps" in capsys.readouterr().err
    assert {path: path.stat().st_mtime_ns for path in (tmp_path / "run").rglob("*")} == before
    with pytest.raises(TrainError, match="already holds a run") as caught:
        main(arguments)
    assert "more --steps or --minutes to train on" in caught.value.hint
    shutil.rmtree(tmp_path / "run" / "style")
    assert main([*arguments, "--resume"]) == 0
    assert StyleModel.open(tmp_path / "run" / "style").training["changes"] == []


@pytest.mark.parametrize("folder", ["/proc/x", "/sys/kernel/x"])
def test_a_folder_that_cannot_be_made_is_told_with_the_reason(arguments: list[str], folder: str) -> None:
    if not Path(folder).parent.is_dir():
        pytest.skip("no such system")
    with pytest.raises(TrainError, match=rf"cannot write the folder {folder}: \w+"):
        main([*arguments, "--content", "nowhere", "--out", folder])


def shown(capsys: pytest.CaptureFixture[str], *arguments: str) -> dict[str, Any]:
    """The settings that `--show` prints."""
    capsys.readouterr()
    assert main([*arguments, "--show"]) == 0
    return tomllib.loads(capsys.readouterr().out)


def test_settings_come_from_recipe_set_and_flags(
    arguments: list[str], tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    recipe = tmp_path / "mine.toml"
    recipe.write_text("[losses]\nstyle = 11\ncontent = 3\nnoise = 90\n[given.clips.motion]\nsource = 'clips'")
    settings = shown(
        capsys, *arguments, "--recipe", str(recipe), "--set", "losses.content=4", "--set", "losses.noise=80",
        "--noise-weight", "70", "--clips", str(tmp_path), "--style-pictures", str(tmp_path),
    )  # fmt: skip
    assert [settings["losses"][name] for name in ("style", "content", "noise")] == [11, 4, 70]
    assert settings["motion"]["source"] == "clips"
    assert settings["data"]["style_pictures"] == str(tmp_path)
    assert settings["schedule"]["steps"] == 2 and "recipe" not in settings["run"]
    assert not (tmp_path / "run").exists()


def test_every_number_flag_sets_its_setting(arguments: list[str], capsys: pytest.CaptureFixture[str]) -> None:
    flags = {
        "--minutes": "schedule.minutes", "--learning-rate": "schedule.learning_rate", "--style-size": "data.style_size",
        "--content-weight": "losses.content", "--style-weight": "losses.style", "--temporal-weight": "losses.temporal",
        "--tone-weight": "losses.tone", "--checkpoint-steps": "run.checkpoint_steps", "--threads": "run.threads",
        "--sheet-steps": "run.sheet_steps", "--seed": "run.seed", "--name": "run.name", "--hold-out": "data.hold_out",
    }  # fmt: skip
    del arguments[arguments.index("--steps") : arguments.index("--steps") + 2]
    values = {flag: "0.5" if flag == "--learning-rate" else str(70 + i) for i, flag in enumerate(flags)}
    settings = shown(capsys, *arguments, *(part for item in values.items() for part in item))
    for flag, name in flags.items():
        section, member = name.split(".")
        assert str(settings[section][member]).removesuffix(".0") == values[flag]


@pytest.mark.parametrize(("gpu", "recipe"), [(False, "quick"), (True, "default")])
def test_the_recipe_suits_the_machine(
    arguments: list[str], monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str], gpu: bool, recipe: str
) -> None:
    monkeypatch.setattr("torch.cuda.is_available", lambda: gpu)
    assert main([*arguments, "--show"]) == 0
    assert f"from the recipe {recipe}." in capsys.readouterr().out


@pytest.mark.parametrize("way", [("--init", "{}"), ("--set", "generator.init={}")])
def test_a_style_to_start_from_is_a_name_or_a_folder(
    arguments: list[str], tiny_style: Path, capsys: pytest.CaptureFixture[str], way: tuple[str, str]
) -> None:
    def start(style: str) -> dict[str, Any]:
        return shown(capsys, *arguments, way[0], way[1].format(style))["generator"]

    assert start(str(tiny_style))["init"] == str(tiny_style)
    assert start("vangogh")["init"] == str(style_library.find("vangogh"))
    with pytest.raises(StyleError, match="vangoff"):
        start("vangoff")


@pytest.mark.parametrize("place", [".", "style"])
def test_a_finished_style_is_not_written_over(
    arguments: list[str], tiny_style: Path, tmp_path: Path, place: str
) -> None:
    shutil.copytree(tiny_style, tmp_path / "run" / place)
    with pytest.raises(TrainError, match="finished style"):
        main(arguments)


def test_a_run_does_not_go_on_as_another(arguments: list[str], tmp_path: Path) -> None:
    (tmp_path / "run").mkdir()
    settings = {"data": {"style_picture": "another.png", "crop": 64}, "run": {"seed": 5}}
    checkpoint.save(tmp_path / "run" / CHECKPOINT, {"step": 3, "settings": settings})
    with pytest.raises(TrainError, match=r"another run.*another\.png.*run\.seed was 5 and is now 1") as caught:
        main([*arguments, "--resume"])
    assert "crop" not in caught.value.problem


def interrupted(number: signal.Signals, monkeypatch: pytest.MonkeyPatch, *arguments: str) -> int:
    """Run until the first checkpoint and send a signal then. Returns: the exit code."""
    save = checkpoint.save

    def save_and_interrupt(target: Path, state: dict[str, Any]) -> None:
        save(target, state)
        patch.undo()  # a second signal would not wait for the checkpoint
        os.kill(os.getpid(), number)

    with monkeypatch.context() as patch:
        patch.setattr("train.loop.checkpoint.save", save_and_interrupt)
        return main([*arguments, "--steps", "1000", "--checkpoint-steps", "2"])


@pytest.mark.parametrize("number", SIGNALS)
def test_a_signal_saves_and_says_how_to_go_on(
    arguments: list[str],
    number: signal.Signals,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
) -> None:
    handler = signal.getsignal(number)
    assert interrupted(number, monkeypatch, *arguments) == 130
    assert signal.getsignal(number) is handler
    assert "--resume" in capsys.readouterr().err
    assert 2 <= checkpoint.load(tmp_path / "run" / CHECKPOINT)["step"] < 1000
    assert not (tmp_path / "run" / "style").exists()


def test_an_interrupted_run_goes_on_with_resume_only(
    arguments: list[str], tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    path = tmp_path / "run" / CHECKPOINT
    interrupted(signal.SIGINT, monkeypatch, *arguments)
    step = checkpoint.load(path)["step"]
    with pytest.raises(TrainError, match="already holds a run") as caught:
        main(arguments)
    assert "--resume" in caught.value.hint
    assert checkpoint.load(path)["step"] == step

    assert main([*arguments, "--steps", str(step + 1), "--resume", "--title", "A work"]) == 0
    state, style = checkpoint.load(path), StyleModel.open(tmp_path / "run" / "style")
    assert state["step"] == step + 1
    assert state["settings"]["data"]["crop"] == style.training["settings"]["data"]["crop"] == 64
    assert style.title == "A work"
    assert "rtstyle image" in capsys.readouterr().out


def test_the_module_tells_faults_in_one_line(tmp_path: Path) -> None:
    """Errors and wrong usage alike: no traceback, exit codes 1 and 2."""
    wrong = run_module("--nonsense")
    assert wrong.returncode == 2 and "--nonsense" in wrong.stderr and "Traceback" not in wrong.stderr
    nothing = tmp_path / "nothing"
    failed = run_module("--style-picture", f"{nothing}.jpg", "--content", str(nothing), "--out", str(tmp_path / "run"))
    assert failed.returncode == 1 and "Traceback" not in failed.stderr and failed.stderr.count("\n") <= 2


def test_what_would_fail_at_the_end_fails_at_once(
    arguments: list[str], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    (tmp_path / "file").write_text("no folder")
    for out in (tmp_path / "file", tmp_path / "file" / "run"):
        with pytest.raises(TrainError, match=f"{tmp_path / 'file'} is a file"):
            main([*arguments, "--out", str(out)])
    find_spec = importlib.util.find_spec
    monkeypatch.setattr(importlib.util, "find_spec", lambda name: None if name == "onnxscript" else find_spec(name))
    with pytest.raises(TrainError, match="needs onnxscript"):
        main(arguments)
    assert not (tmp_path / "run").exists()


def test_a_missing_painting_is_noticed_before_anything_is_loaded(
    arguments: list[str], tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setattr("train.loop.load_features", lambda *_: pytest.fail("the feature networks were loaded"))
    arguments[1], arguments[3] = str(tmp_path / "none.jpg"), str(tmp_path / "photographs")
    assert command_line(["train", *arguments]) == 1
    problem = f"there is no --style-picture {arguments[1]} and no --content {arguments[3]}"
    assert problem in capsys.readouterr().err
    assert not (tmp_path / "run").exists()


def test_a_painting_alone_is_enough(
    painting: Path,
    narrow_features: Path,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
    caplog: pytest.LogCaptureFixture,
) -> None:
    monkeypatch.chdir(tmp_path)
    small = ["--steps", "2", "--batch", "1", "--crop", "64", "--features", str(narrow_features)]
    assert main(["--style-picture", str(painting), *small]) == 0
    style = StyleModel.open(tmp_path / "runs" / "painting" / "style")
    settings = style.training["settings"]
    assert settings["generator"]["init"] == "base" and settings["data"]["content"] == "photographs"
    assert style.training["content_pictures"] == 10
    assert "photographs that come with rtstyle" in caplog.text and "2 steps are far too few" in caplog.text
    assert "rtstyle styles add runs/painting --name painting" in capsys.readouterr().out
