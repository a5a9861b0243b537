"""Every relative link in a page leads to a file of the project, and to a heading of it."""

from __future__ import annotations

import re
from pathlib import Path

import pytest

from tests.unit.guards.tracked import ROOT, files, text

PAGES = [path for path in files() if path.suffix == ".md"]

_CODE = re.compile(r"^```.*?^```$|`[^`\n]*`", re.MULTILINE | re.DOTALL)
_LINK = re.compile(r"\[[^\]]*\]\(([^)\s]+)\)")
_HEADING = re.compile(r"^#{1,6} +(.+?) *#*$", re.MULTILINE)


def links(page: str) -> list[str]:
    """The targets of a page's links, those to other hosts left out."""
    return [target for target in _LINK.findall(_CODE.sub("", page)) if "://" not in target and target[:7] != "mailto:"]


def anchors(page: str) -> set[str]:
    """The names that a page's headings have, as GitHub makes them."""
    found: set[str] = set()
    for heading in _HEADING.findall(re.sub(r"^```.*?^```$", "", page, flags=re.MULTILINE | re.DOTALL)):
        bare = re.sub(r"\[([^\]]*)\]\([^)]*\)", r"\1", heading).lower()
        name = re.sub(r"[^\w\- ]", "", bare).replace(" ", "-")
        number = 0
        while (unique := f"{name}-{number}" if number else name) in found:
            number += 1
        found.add(unique)
    return found


def problems(path: Path, page: str) -> list[str]:
    """What is wrong with the links of a page that lies at `path`."""
    found = []
    for target in links(page):
        file, _, anchor = target.partition("#")
        where = (ROOT / path.parent / file).resolve() if file else ROOT / path
        if not where.is_relative_to(ROOT) or not where.exists():
            found.append(f"{target}: there is no such file")
        elif anchor and anchor not in anchors(page if where == ROOT / path else where.read_text(encoding="utf-8")):
            found.append(f"{target}: there is no such heading")
    return found


@pytest.mark.parametrize("path", PAGES, ids=str)
def test_every_link_leads_somewhere(path: Path) -> None:
    assert problems(path, text(path) or "") == []


def test_the_check_sees_what_is_wrong() -> None:
    page = (
        "# One thing\n[a](#one-thing) [b](#two) [c](nowhere.md) [d](../../outside) [e](docs/runbook.md#running)\n"
        "[f](docs/runbook.md#nothing) [g](https://x.invalid/y) `[h](code)`\n```\n# No heading\n[i](code)\n```\n"
        "[j](#no-heading) [k](docs)\n"
    )
    wrong = [problem.partition(":")[0] for problem in problems(Path("README.md"), page)]
    assert wrong == ["#two", "nowhere.md", "../../outside", "docs/runbook.md#nothing", "#no-heading"]
