"""The words that the metrics' labels are documented with are those that can occur, each once."""

from __future__ import annotations

import ast
from collections.abc import Iterator
from pathlib import Path
from typing import get_args

import holdfast.training
from holdfast.api import wire
from holdfast.api.reasons import Reason
from holdfast.api.status import Phase
from holdfast.app import series

TRAINING = Path(holdfast.training.__path__[0])
# Calls that name the cause of an attempt's end, and those whose first argument it is.
_CLOSES = {"close_attempt", "Ending", "_end"}


def named(node: ast.AST) -> str | None:
    """The value of `Reason.WORD`, None for anything else."""
    if isinstance(node, ast.Attribute) and isinstance(node.value, ast.Name) and node.value.id == "Reason":
        return Reason[node.attr].value
    return None


def causes(source: str) -> Iterator[str]:
    """The causes that a module of the planner can give an attempt: as an argument, or by way of a table or a local."""
    tree = ast.parse(source)
    sent = {id(call.func): call for call in ast.walk(tree) if isinstance(call, ast.Call)}
    for call in sent.values():
        target = call.func
        word = target.id if isinstance(target, ast.Name) else target.attr if isinstance(target, ast.Attribute) else ""
        if word in _CLOSES:
            yield from (found for argument in call.args if (found := named(argument)))
    for node in ast.walk(tree):
        if isinstance(node, ast.Assign) and any(
            isinstance(one, ast.Name) and one.id == "cause" for one in node.targets
        ):
            yield from (found for part in ast.walk(node.value) if (found := named(part)))
        if isinstance(node, ast.AnnAssign) and isinstance(node.value, ast.Dict):
            table = getattr(node.target, "id", "")
            if table in ("_RESTORE_ENDINGS", "_RESTORE_EXITS", "_DISRUPTIONS"):
                yield from (found for value in node.value.values if (found := named(value)))


def possible() -> set[str]:
    return {cause for path in TRAINING.rglob("*.py") for cause in causes(path.read_text(encoding="utf-8"))}


def test_no_label_has_a_word_twice() -> None:
    assert {label: words for label, words in series.LABELS.items() if words and len(words) != len(set(words))} == {}


def test_the_causes_are_those_that_the_planner_gives() -> None:
    assert set(series.LABELS["cause"] or ()) == possible()


def test_the_planner_is_read_as_it_is_written() -> None:
    source = (
        "draft.close_attempt(Reason.SUSPENDED)\ncause = known.get(x, Reason.UNKNOWN)\nEnding(Reason.STALLED, 'x')\n"
    )
    assert sorted(causes(source)) == ["Stalled", "Suspended", "Unknown"]


def test_what_pods_can_say_is_what_the_wire_allows() -> None:
    assert set(series.LABELS["pod_phase"] or ()) == set(get_args(wire.Phase))
    # A sidecar alone is `Finished`; a restore step that leaves no word has `Failed`.
    assert set(series.LABELS["outcome"] or ()) == set(get_args(wire.OutcomeKind)) - {"Finished"} | {"Failed"}
    assert set(series.LABELS["phase"] or ()) == {phase.value for phase in Phase}
