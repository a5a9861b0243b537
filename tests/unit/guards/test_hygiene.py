"""Nothing in the repository knows the machine that it was made on, nor where packages come from."""

from __future__ import annotations

import re
from pathlib import Path

import pytest

from tests.unit.guards.tracked import files, text

# Written in pieces, so that this file does not hold what it looks for.
HOSTS = {
    "Python packages": r"pypi" + r"\.org|python" + "hosted",
    "Go modules": r"(proxy|sum)\." + r"golang\.org",
    "Node packages": r"npm" + r"js\.(org|com)",
    "Debian packages": r"(deb|ftp|security|snapshot)\." + r"debian\.org",
    "Rust packages": r"crates" + r"\.io",
    "Java packages": r"repo1?\.maven" + r"|maven\.apache",
}
MACHINE = r"(?<![\w.])/" + r"work/|(?<![\w.\"'])/" + r"root/|\.\./" + r"shared|design" + r"\.md"


def found(pattern: str) -> list[str]:
    """`file:line` of every place in the repository where the pattern occurs."""
    expression = re.compile(pattern)
    return [
        f"{path}:{number}"
        for path in files()
        for number, line in enumerate((text(path) or "").splitlines(), 1)
        if expression.search(line)
    ]


@pytest.mark.parametrize("what", HOSTS)
def test_no_host_of_a_package_registry_is_named(what: str) -> None:
    assert found(HOSTS[what]) == []


def test_no_path_of_the_machine_is_named() -> None:
    assert found(MACHINE) == []


def test_the_search_finds_what_is_there() -> None:
    assert any(place.startswith("pyproject.toml:") for place in found(r"^name = \"holdfast\"$"))


def test_nothing_that_is_made_is_tracked() -> None:
    made = {".venv", "__pycache__", "dist", "build", ".mypy_cache", ".ruff_cache", ".pytest_cache"}
    assert [str(path) for path in files() if made & set(Path(path).parts)] == []
