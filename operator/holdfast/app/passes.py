"""What is remembered of passes, for `/debug/state`: words and numbers, never a manifest."""

from __future__ import annotations

from collections import Counter, deque
from collections.abc import Sequence
from dataclasses import dataclass
from datetime import datetime

from holdfast.cluster.apply import ApplyResult
from holdfast.planning.plan import Action, Plan, StatusWrite

KEPT = 50
_TEXT = 200
_SEVERAL = 5


@dataclass(frozen=True, slots=True)
class PassNote:
    """The last plan of an object and what came of it."""

    at: datetime
    actions: tuple[str, ...]
    writes_ahead: bool
    writes_status: bool
    commanded: int
    waiting: str
    requeue_after_s: float | None
    problems: tuple[str, ...]

    def told(self) -> dict[str, object]:
        """Return the note as it is shown."""
        return {
            "at": self.at.isoformat(timespec="milliseconds"),
            "actions": list(self.actions),
            "writesAhead": self.writes_ahead,
            "writesStatus": self.writes_status,
            "commandedPods": self.commanded,
            "waiting": self.waiting,
            "requeueAfterSeconds": self.requeue_after_s,
            "problems": list(self.problems),
        }


def note(plan: Plan, result: ApplyResult, at: datetime) -> PassNote:
    """Sum a pass up."""
    return PassNote(
        at=at,
        actions=_summed_up(plan.actions) if plan.actions else (),
        writes_ahead=_writes(plan.write_ahead),
        writes_status=_writes(plan.status),
        commanded=len(plan.commands),
        waiting=plan.waiting,
        requeue_after_s=plan.requeue_after_s,
        problems=tuple(problems(result)),
    )


def _summed_up(actions: Sequence[Action]) -> tuple[str, ...]:
    kinds = Counter(f"{type(action).__name__} {action.resource.plural}" for action in actions)
    return tuple(f"{what} x{count}" for what, count in sorted(kinds.items()))


def problems(result: ApplyResult) -> list[str]:
    """Return the first few things that went wrong, each in one short line."""
    found = ["the object has changed meanwhile"] if result.conflict else []
    found += [str(error)[:_TEXT] for error in result.failures[:_SEVERAL]]
    found += [f"{item.name}: {item.code} {item.reason}"[:_TEXT] for item in result.refusals[:_SEVERAL]]
    return found


class History:
    """The last passes of all objects."""

    def __init__(self) -> None:
        self._rows: deque[tuple[datetime, str, float, str]] = deque(maxlen=KEPT)

    def add(self, name: str, at: datetime, seconds: float, result: str) -> None:
        """Take note of a pass. Words are made of it when somebody asks: nearly nobody does."""
        self._rows.append((at, name, seconds, result))

    def told(self) -> list[dict[str, object]]:
        """Return them, newest first."""
        return [_row(*row) for row in reversed(self._rows)]


def _row(at: datetime, name: str, seconds: float, result: str) -> dict[str, object]:
    row = {"at": at.isoformat(timespec="milliseconds"), "object": name, "seconds": round(seconds, 4)}
    return {**row, "result": result}


def _writes(write: StatusWrite | None) -> bool:
    return write is not None and write.wanted is not write.observed and write.wanted != write.observed
