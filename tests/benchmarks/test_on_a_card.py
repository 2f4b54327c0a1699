"""The script for the day when a card is at hand, as far as it runs without one."""

from __future__ import annotations

import os
import subprocess
import sys
import tarfile
from pathlib import Path

import pytest

from engines.cuda import driver
from rtstyle.style_library import installed
from tests.conftest import ROOT

pytestmark = pytest.mark.skipif(sys.platform == "win32", reason="a script for bash")

STANDIN = """#!/bin/bash
# In place of Python: has a card, notes what it is called with, and makes what a training makes.
echo "$*" >>"$CALLS"
case "$*" in
    *"import json"*) exec {python} "$@" ;;
    *"benchmarks.step"*) [ ! -e "$SLOW" ] || exec sleep 60 ;;
    *"benchmarks.against"*) exit 3 ;;
    *" train "*) while [ $# -gt 0 ]; do [ "$1" != --out ] || run=$2; shift; done
        mkdir -p "$run/style"; touch "$run/checkpoint.pt"
        [ ! -e "$SLOW-train" ] || exec sleep 60
        echo weights >"$run/style/weights.safetensors" ;;
esac
exit 0
"""


def script(out: Path, **environment: str) -> subprocess.CompletedProcess[str]:
    command = ["bash", str(ROOT / "benchmarks" / "on_a_card.sh"), str(out)]
    known = {**os.environ, "PYTHONPATH": str(ROOT), **environment}
    return subprocess.run(command, env=known, capture_output=True, text=True, timeout=120, check=False, cwd="/")


@pytest.mark.skipif(driver.device_count() > 0, reason="there is a card")
def test_without_a_card_it_says_so_in_one_line(tmp_path: Path) -> None:
    done = script(tmp_path / "out", PYTHON=sys.executable)
    assert done.returncode == 1 and done.stdout == ""
    (line,) = done.stderr.splitlines()
    assert line.startswith("on_a_card.sh: the cuda engine needs an NVIDIA GPU and its driver, and none was found")


def test_it_keeps_its_limits_goes_on_and_packs_the_results(tmp_path: Path) -> None:
    python, slow, data, out = tmp_path / "python", tmp_path / "slow", tmp_path / "data", tmp_path / "out"
    python.write_text(STANDIN.replace("{python}", sys.executable))
    python.chmod(0o755)
    for name in ("content", "styles", "features"):
        (data / name).mkdir(parents=True)
    known = {"PYTHON": str(python), "RTSTYLE_DATA": str(data), "CALLS": str(tmp_path / "calls"), "SLOW": str(slow)}
    table = ROOT / "benchmarks" / "RESULTS-GPU.md"
    before = table.read_bytes()

    slow.touch()
    first = script(out, **known, LIMIT_S="8", LEAST_S="1")
    assert first.returncode == 0, first.stderr
    assert "tests: finished" in first.stdout and "step: stopped after" in first.stdout
    assert "style-wave: no time is left" in first.stdout and "against: no time is left" in first.stdout
    assert (out / "RESULTS-GPU.md").read_bytes() == before

    slow.unlink()
    Path(f"{slow}-train").touch()
    second = script(out, **known, LIMIT_S="8", LEAST_S="1")
    assert "tests: done before, finished" in second.stdout and "step: finished" in second.stdout
    first_style, count = installed()[0].name, len(installed())
    assert f"style-{first_style}: stopped after" in second.stdout

    # Another machine, to which only the archive was brought.
    Path(f"{slow}-train").unlink()
    elsewhere = tmp_path / "elsewhere"
    elsewhere.mkdir()
    (elsewhere / "results.tar.gz").write_bytes((out / "results.tar.gz").read_bytes())
    (tmp_path / "calls").unlink()
    third = script(elsewhere, **known)
    assert "step: done before, finished" in third.stdout and "style-wave: finished" in third.stdout
    assert "against: failed with code 3" in third.stdout and f"{count + 3} parts are finished" in third.stdout
    trained = [line for line in (tmp_path / "calls").read_text().splitlines() if " train " in line]
    assert len(trained) == count
    assert [line for line in trained if "--resume" in line] == [line for line in trained if first_style in line]
    with tarfile.open(elsewhere / "results.tar.gz") as archive:
        names = archive.getnames()
    assert "styles/wave/weights.safetensors" in names and "tests.log" in names
    assert not any("checkpoint" in name for name in names), "of finished styles nothing more is needed"
    assert table.read_bytes() == before
