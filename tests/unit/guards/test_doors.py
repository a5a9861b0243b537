"""The doors between rooms: the contracts hold, and each of them notices a violation."""

from __future__ import annotations

import shutil
import subprocess
import sys
from pathlib import Path

import pytest

from tests.unit.guards.tracked import ROOT

VIOLATIONS = {
    "api/breach.py": ("import asyncio", "Pure rooms do no I/O"),
    "accelerators/breach.py": ("import holdfast.training", "Doors open one way"),
    "planning/breach.py": ("import aiohttp", "Pure rooms do no I/O"),
    "training/breach.py": ("import kopf", "Only app imports kopf"),
    "cluster/breach.py": ("import holdfast.accelerators", "The cluster room knows no kind"),
    "checkpoint/breach.py": ("import holdfast.cluster", "The checkpoint room knows no cluster"),
    "client/breach.py": ("import holdfast.api.wire", "The client library stands alone"),
}


def _lint(root: Path) -> tuple[int, str]:
    done = subprocess.run(
        [sys.executable, "-c", "from importlinter.cli import lint_imports_command as c; c()", "--no-cache"],
        cwd=root, env={"PYTHONPATH": str(root / "operator"), "PATH": "/usr/bin:/bin", "COLUMNS": "200"},
        capture_output=True, text=True, timeout=120, check=False,
    )  # fmt: skip
    return done.returncode, done.stdout + done.stderr


@pytest.fixture(scope="module")
def breached(tmp_path_factory: pytest.TempPathFactory) -> str:
    """What the linter says about a copy of the package with every violation in it."""
    root = tmp_path_factory.mktemp("breached")
    package = root / "operator/holdfast"
    shutil.copytree(ROOT / "operator/holdfast", package, ignore=shutil.ignore_patterns("__pycache__"))
    shutil.copy(ROOT / "pyproject.toml", root)
    for name, (line, _) in VIOLATIONS.items():
        (package / name).write_text(f"{line}\n")
    code, output = _lint(root)
    assert code != 0
    return output


def test_the_contracts_hold() -> None:
    code, output = _lint(ROOT)
    assert code == 0, output


@pytest.mark.parametrize("name", VIOLATIONS)
def test_a_violation_is_noticed(breached: str, name: str) -> None:
    _, contract = VIOLATIONS[name]
    module = "holdfast." + name.removesuffix(".py").replace("/", ".")
    assert any(contract in line and "BROKEN" in line for line in breached.splitlines()), breached
    assert module in breached
