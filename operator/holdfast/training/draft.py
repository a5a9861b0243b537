"""The status that a pass wants: made from the one observed, changed step by step, compared by the shell at the end."""

from __future__ import annotations

from collections.abc import Mapping
from datetime import datetime
from typing import Any, Final

from holdfast.api.conditions import ConditionType
from holdfast.api.reasons import Reason
from holdfast.api.status import (
    MAX_ATTEMPT_ROWS,
    AttemptRow,
    Condition,
    Phase,
    TrainingJobStatus,
    WorkerCounts,
)
from holdfast.planning.plan import TRAINING_JOBS, EventNote, StatusWrite
from holdfast.training.endings import Ending
from holdfast.training.view import View

_MESSAGE_LIMIT: Final = 1000


class Draft:
    """Collects the changes of one pass. Nothing is written before `write` turns it into a `StatusWrite`."""

    def __init__(self, view: View) -> None:
        self._view = view
        self._now = view.now.replace(microsecond=0)
        self._fields: dict[str, Any] = {name: getattr(view.status, name) for name in TrainingJobStatus.model_fields}
        self._conditions: dict[str, Condition] = {c.type: c for c in view.status.conditions}
        self.events: list[EventNote] = []

    def set(self, **fields: Any) -> None:
        """Set fields of the status by their Python names; None removes one."""
        self._fields.update(fields)

    def condition(self, kind: ConditionType, status: bool | None, reason: Reason, message: str = "") -> None:
        """Set a condition; its transition time moves only when the status flips."""
        text = "Unknown" if status is None else str(status)
        before = self._conditions.get(kind.value)
        flipped = before is None or before.status != text
        self._conditions[kind.value] = Condition(
            type=kind.value,
            status=text,
            reason=reason.value,
            message=message[:_MESSAGE_LIMIT],
            observed_generation=self._view.job.metadata.generation,
            last_transition_time=self._now if flipped or before is None else before.last_transition_time,
        )

    def phase(self, phase: Phase, reason: Reason, message: str = "") -> None:
        """Set the summary for people."""
        self.set(phase=phase, reason=reason.value, message=message[:_MESSAGE_LIMIT] or None)

    def event(self, kind: str, reason: str, note: str) -> None:
        """Tell an event once the status is written."""
        self.events.append(EventNote("Warning" if kind == "Warning" else "Normal", reason, note[:_MESSAGE_LIMIT]))

    def open_attempt(self, number: int, started_at: datetime | None = None) -> None:
        """Write an attempt ahead: its number, its row, and no pods of it yet."""
        row = AttemptRow(attempt=number, started_at=(started_at or self._now).replace(microsecond=0))
        rows = [*(self._fields["attempts"] or []), row]
        self.set(
            attempt=number,
            attempts=rows[-MAX_ATTEMPT_ROWS:],
            workers=WorkerCounts(desired=len(self._view.slots)),
        )

    def close_attempt(self, cause: Reason, end: Ending | None = None, message: str = "") -> None:
        """Close the row of the current attempt."""
        rows = list(self._fields["attempts"] or [])
        if not rows or rows[-1].ended_at is not None:
            return
        spent = int((self._now - rows[-1].started_at).total_seconds())
        rows[-1] = closed(rows[-1], cause, self._now, end, message)
        self.set(attempts=rows, active_seconds=(self._fields["active_seconds"] or 0) + max(0, spent))

    def revise(self, index: int, row: AttemptRow) -> None:
        """Replace one row, when its cause was told more precisely later."""
        rows = list(self._fields["attempts"] or [])
        rows[index] = row
        self.set(attempts=rows)

    def status(self) -> TrainingJobStatus:
        """Return the status as it has become."""
        conditions = list(self._conditions.values())
        generation = self._view.job.metadata.generation
        return TrainingJobStatus(**{**self._fields, "conditions": conditions, "observed_generation": generation})

    def write(self) -> StatusWrite:
        """Return the status write of this pass."""
        generation = self._view.job.metadata.generation
        held = self._view.job.status
        wanted: Mapping[str, Any] = held
        if self._changed() or self._view.status.observed_generation != generation:
            wanted = self.status().dump()
        meta = self._view.job.metadata
        return StatusWrite(TRAINING_JOBS, meta.namespace, meta.name, meta.resource_version, held, wanted)

    def _changed(self) -> bool:
        """Say whether anything was set to something else: most passes only look, and a dump is dear."""
        status = self._view.status
        if list(self._conditions.values()) != list(status.conditions):
            return True
        return any(value != getattr(status, name) for name, value in self._fields.items())


def closed(row: AttemptRow, cause: Reason, at: datetime, end: Ending | None, message: str = "") -> AttemptRow:
    """Return the row of an attempt that has ended."""
    told: Mapping[str, Any] = {
        "ended_at": at,
        "cause": cause.value,
        "message": (end.message if end else message)[:_MESSAGE_LIMIT] or None,
        "exit_code": end.exit_code if end and end.exit_code is not None and -1 <= end.exit_code <= 255 else None,
        "slot": end.slot if end and end.slot else None,
        "nodes": (end.node,) if end and end.node else (),
    }
    return row.model_copy(update=dict(told))
