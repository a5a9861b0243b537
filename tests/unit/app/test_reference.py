"""The pages about metrics and logs are those of the code, and the code logs what the page says."""

from __future__ import annotations

import ast
from collections.abc import Iterator
from pathlib import Path

import pytest

from holdfast.app import log_events, reference, series

ROOT = Path(__file__).resolve().parents[3]
PACKAGE = ROOT / "operator" / "holdfast"
LEVELS = {"debug", "info", "warning", "error", "exception", "critical"}
# The client logs for people, in the trainer's own log; the command line logs nothing.
PROSE = {"client", "cli"}


@pytest.mark.parametrize("name", sorted(reference.files()))
def test_the_page_is_up_to_date(name: str) -> None:
    assert (ROOT / name).read_text(encoding="utf-8") == reference.files()[name], "run make reference"


def test_the_check_notices_a_page_that_is_not(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    (tmp_path / "docs/reference").mkdir(parents=True)
    assert reference.main(["--check", "--root", str(tmp_path)]) == 1
    assert reference.main(["--root", str(tmp_path)]) == 0
    assert reference.main(["--check", "--root", str(tmp_path)]) == 0
    page = tmp_path / "docs/reference/metrics.md"
    page.write_text(page.read_text().replace("holdfast_leader", "holdfast_boss"))
    assert reference.main(["--check", "--root", str(tmp_path)]) == 1
    assert "metrics.md: out of date, run make reference" in capsys.readouterr().out


def test_metrics_are_named_as_prometheus_wants_them() -> None:
    names = [one.name for one in series.ALL]
    assert len(names) == len(set(names))
    for one in series.ALL:
        assert one.name.endswith("_total") == (one.kind == "counter"), one.name
        assert bool(one.buckets) == (one.kind == "histogram"), one.name
        assert one.meaning.endswith("."), one.name
        assert set(one.labels) <= series.LABELS.keys()
        assert "|" not in one.meaning


def calls(source: str, path: str) -> Iterator[tuple[str, ast.Call]]:
    """Every call of a method of a logger: what is logged is its first argument."""
    for node in ast.walk(ast.parse(source)):
        if not isinstance(node, ast.Call) or not isinstance(node.func, ast.Attribute):
            continue
        target = node.func.value
        named = target.id if isinstance(target, ast.Name) else target.attr if isinstance(target, ast.Attribute) else ""
        if named in ("log", "logger", "logging") and node.func.attr in LEVELS | {"log"}:
            yield f"{path}:{node.lineno}", node


def names_in(node: ast.expr) -> list[str] | None:
    """The constants that an expression can be, None where it can be anything else."""
    if isinstance(node, ast.Constant) and isinstance(node.value, str):
        return [node.value]
    if isinstance(node, ast.IfExp):
        one, other = names_in(node.body), names_in(node.orelse)
        return None if one is None or other is None else one + other
    return None


def logged() -> dict[str, list[str]]:
    """Where each event is logged."""
    found: dict[str, list[str]] = {}
    for path in sorted(PACKAGE.rglob("*.py")):
        room = path.relative_to(PACKAGE).parts[0]
        if room in PROSE:
            continue
        for place, call in calls(path.read_text(encoding="utf-8"), str(path.relative_to(ROOT))):
            names = names_in(call.args[0]) if len(call.args) == 1 else None
            assert names is not None, f"{place}: an event is one constant without arguments; fields go into extra"
            for name in names:
                found.setdefault(name, []).append(place)
    return found


def test_every_event_is_documented_and_every_documented_one_is_logged() -> None:
    assert sorted(logged()) == sorted(log_events.EVENTS)


def test_every_event_has_one_meaning_and_so_one_place() -> None:
    assert {name: places for name, places in logged().items() if len(places) > 1} == {}


def test_every_event_has_a_topic() -> None:
    for name, text in log_events.EVENTS.items():
        topic, dot, what = name.partition(".")
        assert dot, name
        assert topic in log_events.TOPICS, name
        assert what.replace("_", "").isalpha(), name
        assert what.islower(), name
        assert text.endswith("."), name


def test_nothing_is_printed_past_the_logs() -> None:
    loose = [
        f"{path.relative_to(ROOT)}:{node.lineno}"
        for path in sorted(PACKAGE.rglob("*.py"))
        if path.relative_to(PACKAGE).parts[0] not in PROSE and '__name__ == "__main__"' not in path.read_text()
        for node in ast.walk(ast.parse(path.read_text(encoding="utf-8")))
        if isinstance(node, ast.Attribute)
        and node.attr in ("stderr", "stdout")
        and ast.unparse(node).startswith("sys.")
    ]
    assert [place for place in loose if "/logs.py:" not in place] == []


def test_the_walk_sees_what_breaks_the_rule() -> None:
    source = 'logger.info(name)\nself.log.warning("a.b", 1)\nlogging.error(f"x{y}")\nlog.info("a" if c else "b")\n'
    seen = [call for _, call in calls(source, "x.py")]
    assert [names_in(call.args[0]) for call in seen] == [None, ["a.b"], None, ["a", "b"]]
