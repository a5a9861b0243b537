"""The shape of the repository: what must not be there, and how large a file may be."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

import pytest

from tests.unit.guards.tracked import ROOT, files, text

LINES = 400
VAGUE = {"utils", "util", "helpers", "helper", "common", "misc"}


def test_operator_never_shadows_the_standard_library() -> None:
    """`operator/` is a plain directory: with an `__init__.py` it would replace the module of that name."""
    assert not (ROOT / "operator" / "__init__.py").exists()
    program = "import operator, collections; print(operator.__file__)"
    done = subprocess.run(
        [sys.executable, "-c", program], cwd=ROOT, capture_output=True, text=True, timeout=30, check=True
    )
    assert not Path(done.stdout.strip()).is_relative_to(ROOT / "operator")


def sources() -> list[Path]:
    return [path for path in files() if path.suffix in {".py", ".sh", ".tpl"}]


def test_no_file_is_too_long() -> None:
    long = {str(path): count for path in sources() if (count := len((text(path) or "").splitlines())) > LINES}
    assert not long, f"split these: {long}"


def test_every_module_is_named_by_what_it_is_about() -> None:
    assert [str(path) for path in sources() if path.stem.strip("_") in VAGUE] == []


def test_every_module_of_the_package_says_what_it_is_for() -> None:
    package = [path for path in sources() if path.is_relative_to("operator/holdfast") and path.suffix == ".py"]
    assert package
    assert [str(path) for path in package if not (text(path) or "").lstrip().startswith(('"""', 'r"""'))] == []


@pytest.mark.parametrize("name", ["README.md", "LICENSE", "CHANGELOG.md", "Makefile", ".ci/run", "pyproject.toml"])
def test_what_everybody_looks_for_is_there(name: str) -> None:
    assert Path(name) in files()
    assert text(Path(name))
