"""The pip command that hints name."""

from __future__ import annotations

import json
import sys
from importlib import metadata
from pathlib import Path

import pytest
from packaging.specifiers import SpecifierSet
from packaging.version import Version

from engines.install_hint import pip_install, pip_upgrade
from tests.conftest import ROOT


class Installed:
    """A distribution with this ``direct_url.json``."""

    def __init__(self, url: str | None) -> None:
        self._text = None if url is None else json.dumps({"url": url, "dir_info": {}})

    def read_text(self, _name: str) -> str | None:
        return self._text


def installed_from(monkeypatch: pytest.MonkeyPatch, url: str | None) -> None:
    monkeypatch.setattr(metadata, "distribution", lambda _: Installed(url))


def test_from_a_package_index(monkeypatch: pytest.MonkeyPatch) -> None:
    installed_from(monkeypatch, None)
    assert pip_install("web") == 'pip install "rtstyle[web]"'
    installed_from(monkeypatch, "https://example.org/rtstyle.whl")
    assert pip_install("web") == 'pip install "rtstyle[web]"'


def test_from_a_checkout(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    folder = tmp_path / "my checkout"
    folder.mkdir()
    installed_from(monkeypatch, folder.as_uri())
    assert pip_install("web") == 'pip install "rtstyle[web]"', "it is gone"
    (folder / "pyproject.toml").touch()
    assert pip_install("web") == f'pip install "{folder}[web]"'


def test_not_installed(monkeypatch: pytest.MonkeyPatch) -> None:
    def missing(_: str) -> None:
        raise metadata.PackageNotFoundError

    monkeypatch.setattr(metadata, "distribution", missing)
    assert pip_install("cuda") == f'pip install "{ROOT}[cuda]"'


@pytest.mark.parametrize(
    ("prefix", "command"),
    [
        ("/home/me/.local/share/pipx/venvs/rtstyle", "pipx install --force"),
        ("/home/me/.local/share/uv/tools/rtstyle", "uv tool install --force"),
        ("/home/me/.cache/uv/archive-v0/xyz", "uvx --from"),
        ("/home/me/venv", "pip install"),
    ],
)
def test_environments_that_pip_must_not_change(monkeypatch: pytest.MonkeyPatch, prefix: str, command: str) -> None:
    installed_from(monkeypatch, None)
    monkeypatch.setattr(sys, "prefix", prefix)
    assert pip_install("web") == f'{command} "rtstyle[web]"'


@pytest.mark.parametrize(
    ("prefix", "command"),
    [
        ("/home/me/.local/share/pipx/venvs/rtstyle", "pipx runpip rtstyle install --upgrade"),
        ("/home/me/.local/share/uv/tools/rtstyle", f'uv pip install --python "{sys.executable}" --upgrade'),
        ("/home/me/venv", "pip install --upgrade"),
    ],
)
def test_another_build_of_torch(monkeypatch: pytest.MonkeyPatch, prefix: str, command: str) -> None:
    monkeypatch.setattr(sys, "prefix", prefix)
    index = "--index-url https://download.pytorch.org/whl/cu130"
    assert pip_upgrade("torch>=2.11", "cu130") == f'{command} "torch>=2.11" {index}'


def test_pip_replaces_a_cpu_build_by_one_for_cuda() -> None:
    """As the hint does it: both satisfy the requirement, and the version for CUDA counts as newer."""
    versions = {"2.14.1": "2.14.1+cu130", "2.14.1+cpu": "2.14.1+cu130", "2.15.0+cpu": "2.14.1+cu130"}
    requirement = SpecifierSet(">=2.11,<2.15")
    for installed, newer in versions.items():
        assert newer in requirement
        assert installed not in requirement or Version(newer) > Version(installed)
    assert Version("2.14.1+cu126") < Version("2.14.1+cu130"), "so the older one needs `replace`"
    assert pip_upgrade("torch>=2.11", "cu126", replace=True).startswith("pip uninstall -y torch, then pip install ")
