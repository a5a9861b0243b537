"""The command in an interpreter without its extra, and in one that has it."""

from __future__ import annotations

import os
import subprocess
import sys
import tomllib

import pytest

from holdfast import __version__
from holdfast.cli.main import NEEDED
from tests.unit.guards.tracked import ROOT

PACKAGE = str(ROOT / "operator")


def run(*words: str, bare: bool, entry: str) -> subprocess.CompletedProcess[str]:
    """Run the command; a bare interpreter sees the standard library and the package alone."""
    start = {
        "module": f"import runpy, sys; sys.path.insert(0, {PACKAGE!r}); sys.argv[1:] = {list(words)!r}; "
        "runpy.run_module('holdfast.cli', run_name='__main__')",
        "script": f"import sys; sys.path.insert(0, {PACKAGE!r}); sys.argv[:] = ['holdfast', *{list(words)!r}]; "
        "from holdfast.cli.main import main; sys.exit(main())",
    }[entry]
    flags = ["-I", "-S"] if bare else ["-I"]
    return subprocess.run(
        [sys.executable, *flags, "-c", start], capture_output=True, text=True, timeout=60, check=False,
        env={"PATH": os.environ["PATH"], "HOME": os.environ.get("HOME", "/")},
    )  # fmt: skip


@pytest.mark.parametrize("entry", ["module", "script"])
@pytest.mark.parametrize("words", [(), ("version",), ("status", "digits"), ("--help",)])
def test_without_its_extra_it_says_in_one_line_what_to_install(entry: str, words: tuple[str, ...]) -> None:
    done = run(*words, bare=True, entry=entry)
    assert (done.returncode, done.stdout) == (2, "")
    [line] = done.stderr.splitlines()
    assert line.startswith("holdfast: the command needs the module kubernetes, which is not installed: ")
    assert "pip install '.[cli]'" in line


@pytest.mark.parametrize("entry", ["module", "script"])
def test_with_it_it_runs(entry: str) -> None:
    done = run("version", bare=False, entry=entry)
    assert (done.returncode, done.stdout.strip(), done.stderr) == (0, __version__, "")


def test_without_a_kubeconfig_it_says_what_to_set(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("HOME", "/nonexistent")
    done = run("status", bare=False, entry="script")
    assert (done.returncode, done.stdout) == (1, "")
    [line] = done.stderr.splitlines()
    assert line.startswith("holdfast: No usable kubeconfig: ")
    assert line.endswith(". Set KUBECONFIG or choose another --context.")
    assert ".." not in line


def test_it_looks_for_all_that_the_extra_brings() -> None:
    project = tomllib.loads((ROOT / "pyproject.toml").read_text(encoding="utf-8"))["project"]
    brought = {line.partition(">")[0] for line in project["optional-dependencies"]["cli"]}
    assert set(NEEDED) == brought
    assert project["scripts"]["holdfast"] == "holdfast.cli.main:main"
