"""When a job has succeeded: every trainer exited 0, and what all of them have complete is committed.

The last sidecar to end sees all parts and commits; on a shared volume that is the first slot's, whose word alone counts
for a commit. What each of them knew at its end is in its termination message; the
newest report stands in where that message is missing.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import TypeAlias

from holdfast.api import labels as names
from holdfast.planning.observed import Pod
from holdfast.planning.slots import Slot
from holdfast.training.endings import outcome_of, stopped
from holdfast.training.view import View

# The newest step that a slot holds complete, and the newest that it knows to be committed.
_Words: TypeAlias = tuple[int | None, int | None]


@dataclass(frozen=True, slots=True)
class FinalCheckpoint:
    """What the slots say at the end. `complete` is the newest step that every slot holds complete, None for none.

    `unknown` names the slots of whose last state nobody has a word."""

    complete: int | None
    committed: int | None
    unknown: tuple[str, ...] = ()

    @property
    def is_committed(self) -> bool:
        """Say whether nothing that every slot held complete is missing in the bucket."""
        if self.unknown:
            return False
        return self.complete is None or (self.committed is not None and self.committed >= self.complete)


def trainers_succeeded(view: View) -> bool:
    """Say whether the pod of every slot ended with success."""
    pods = [view.current.get(slot.name) for slot in view.slots]
    return all(pod is not None and pod.status.phase == "Succeeded" and not stopped(pod) for pod in pods)


def final_checkpoint(view: View) -> FinalCheckpoint:
    """Read the last words of every slot's sidecar. With no checkpoint in the spec there is nothing to commit."""
    if view.spec.checkpoint is None:
        return FinalCheckpoint(None, None)
    words = {slot: _last_words(view, pod) for slot, pod in view.current.items()}
    unknown = tuple(sorted(slot for slot, word in words.items() if word is None))
    known = [word for word in words.values() if word is not None]
    steps = [complete for complete, _ in known]
    if view.shares_volume:
        return _of_the_first(words, steps)
    complete = None if not steps or None in steps else min(step for step in steps if step is not None)
    committed = max((step for _, step in known if step is not None), default=None)
    return FinalCheckpoint(complete, committed, unknown)


def _of_the_first(words: Mapping[str, _Words | None], steps: list[int | None]) -> FinalCheckpoint:
    """Judge a shared volume: the first slot commits, and nothing that anybody saw complete may be missing."""
    first = Slot(0, 0).name
    own = words.get(first)
    complete = max((step for step in steps if step is not None), default=None)
    return FinalCheckpoint(complete, own[1] if own is not None else None, () if own is not None else (first,))


def _last_words(view: View, pod: Pod) -> _Words | None:
    """Return `(last complete, committed)` as the slot's sidecar said it last, or None where it said nothing."""
    status = pod.container(names.SIDECAR_CONTAINER)
    for state in (status.state, status.last_state) if status else ():
        outcome = outcome_of(state.terminated)
        if outcome is not None and outcome.kind == "Finished":
            return outcome.last_complete, _newest(outcome.committed, outcome.step)
    report = view.report(pod)
    if report is not None and report.role == "Sidecar" and report.phase in ("Flushed", "Finished"):
        return report.last_complete, _newest(report.committed, report.restored_step)
    return None


def _newest(committed: int | None, restored: int | None) -> int | None:
    """Return the newest step that is committed: what was restored is committed too, by the run before."""
    return max((step for step in (committed, restored) if step is not None), default=None)
