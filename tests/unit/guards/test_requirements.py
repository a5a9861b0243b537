"""The lock files: everything pinned, everything hashed, nothing from anywhere in particular."""

from __future__ import annotations

import re
import tomllib
from collections.abc import Iterator

import pytest

from tests.unit.guards.tracked import ROOT

LOCKS = sorted(path.name for path in (ROOT / "requirements").glob("*.txt"))
PIN = re.compile(r"(?P<name>[A-Za-z0-9._-]+)==(?P<version>\S+)( ; (?P<marker>.+))?")
HASH = re.compile(r"--hash=sha256:[0-9a-f]{64}")


def entries(lock: str) -> Iterator[list[str]]:
    """Each requirement as its words' lines: the pin, then the hashes."""
    content = (ROOT / "requirements" / lock).read_text().replace("\\\n", "\n")
    entry: list[str] = []
    for line in content.splitlines():
        if line and not line.startswith(" "):
            if entry:
                yield entry
            entry = []
        if line.strip():
            entry.append(line.strip())
    yield entry


def pins(lock: str) -> dict[str, str]:
    found = {}
    for pin, *_ in entries(lock):
        match = PIN.fullmatch(pin)
        assert match, f"{lock}: {pin!r} is not pinned"
        found[normal(match["name"])] = match["version"]
    return found


def normal(name: str) -> str:
    return re.sub(r"[-_.]+", "-", name).lower()


def test_the_locks_are_the_known_ones() -> None:
    assert LOCKS == ["dev.txt", "digits.txt", "image.txt", "trainer.txt", "uv.txt"]


@pytest.mark.parametrize("lock", LOCKS)
def test_everything_is_pinned_and_hashed(lock: str) -> None:
    for pin, *hashes in entries(lock):
        assert PIN.fullmatch(pin), pin
        assert hashes, f"{pin} has no hash"
        assert all(HASH.fullmatch(one) for one in hashes), pin


@pytest.mark.parametrize("lock", LOCKS)
def test_no_lock_says_where_packages_come_from(lock: str) -> None:
    content = (ROOT / "requirements" / lock).read_text()
    assert "://" not in content
    assert not re.search(r"^\s*-(i|f|-index|-find|-extra)", content, re.MULTILINE)


def test_tests_run_with_the_versions_of_the_image() -> None:
    developed = pins("dev.txt")
    assert {name: (version, developed.get(name)) for name, version in pins("image.txt").items()} == {
        name: (version, version) for name, version in pins("image.txt").items()
    }


@pytest.mark.parametrize("extra", ["operator", "sidecar", "cli", "dev"])
def test_every_dependency_is_locked(extra: str) -> None:
    project = tomllib.loads((ROOT / "pyproject.toml").read_text())["project"]
    assert project["dependencies"] == [], "the bare install is the client library: standard library only"
    named = [re.split(r"[<>=!~\[ ;]", one)[0] for one in project["optional-dependencies"][extra]]
    wanted = {normal(name) for name in named} - {"holdfast"}
    assert wanted <= pins("dev.txt").keys()
    if extra in ("operator", "sidecar"):
        assert wanted <= pins("image.txt").keys()
