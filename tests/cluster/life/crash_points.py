"""A process killed before and after every call of every story, and what must have come of it.

make crash-points                                every crash point there is
make crash-points POINTS='suspend standby'       those of one story and one kind of process
make crash-points POINTS='suspend pod:after:7'   a single one
"""

from __future__ import annotations

import dataclasses
import sys
from collections.abc import Iterable, Iterator
from functools import cache
from typing import Any

from tests.cluster.life.pool import pool
from tests.cluster.life.stories import STORIES, End, Kill, Life, Who, live

KINDS: tuple[Who, ...] = ("standby", "single", "pod")


@cache
def undisturbed(story: str, who: Who) -> Life:
    """Live the story with nobody killed, for its calls and its end."""
    return live(STORIES[story], Kill(who))


def kills(story: str, who: Who) -> Iterator[Kill]:
    """Yield every crash point of a story for one kind of process."""
    for call in range(1, len(undisturbed(story, who).calls) + 1):
        yield Kill(who, "before", call)
        yield Kill(who, "after", call)


def problem(story: str, kill: Kill) -> str:
    """Live the story with one process killed; return what is wrong with its end, or nothing."""
    try:
        life = live(STORIES[story], kill)
    except Exception as error:  # noqa: BLE001 - whatever it is, it is told with the command that shows it again
        return _told(story, kill, f"{type(error).__name__}: {error}")
    if not life.blown:
        return _told(story, kill, "nobody was killed")
    plain = undisturbed(story, kill.who).end
    found = life.end
    if found.phase != "Succeeded":
        # Trainers go on until somebody stops them, so a later step may be the newest.
        found = _as_stopped(found, plain)
    if found in _right_ends(plain, life):
        return ""
    return _told(story, kill, f"{life.blown}\n  ends as {life.end}\n  and not {plain}; killed: {life.killed}")


def problems(points: Iterable[tuple[str, Kill]]) -> list[str]:
    """Live many lives, on all processors, and return what is wrong with them."""
    stories, killed = zip(*points, strict=True)
    return [found for found in pool().map(problem, stories, killed, chunksize=4) if found]


def _told(story: str, kill: Kill, text: str) -> str:
    return f"make crash-points POINTS='{story} {kill}'\n  {text}"


def _right_ends(plain: End, life: Life) -> list[End]:
    """Return the ends that are right. A dead operator, and a sidecar beside a running trainer, change nothing."""
    if not life.killed:
        return [plain]
    killed = life.killed[0]
    if killed.container == "restore":
        # An init container of a pod that is never restarted: the attempt ends, and counts.
        return [_with_attempt(plain, killed.attempt, "RestoreFailed")]
    if not killed.late:
        return [plain]
    if '"kind":"Finished"' in killed.words:
        # All was told by then; only old commits may be left, for the next run to delete.
        return [plain]
    if plain.phase == "Succeeded" and plain.causes[killed.attempt - 1] == "Succeeded":
        # Nobody knows what this worker's last word would have been, unless a report had told it.
        return [_with_attempt(plain, killed.attempt, "FinalCheckpointNotCommitted"), plain]
    # The newest step may not have been sent before the pod was gone: it was never committed.
    return [plain, _replace(plain, newest=(plain.newest[0] - 3, 2), latest=_less(plain.latest))] if plain.newest else []


def _as_stopped(found: End, plain: End) -> End:
    """Return the end of a stop with the undisturbed commit, where it has a newer one and status tells of it."""
    if found.newest is None or plain.newest is None or found.newest < plain.newest:
        return found
    told = plain.latest if not found.phase or found.latest == found.newest[0] else found.latest
    return _replace(found, newest=plain.newest, latest=told)


def _with_attempt(plain: End, attempt: int, cause: str) -> End:
    causes = (*plain.causes[: attempt - 1], cause, *plain.causes[attempt - 1 :])
    return _replace(plain, causes=causes, restarts=plain.restarts + 1)


def _less(step: int | None) -> int | None:
    return None if step is None else step - 3


def _replace(end: End, **changes: Any) -> End:
    return dataclasses.replace(end, **changes)


def main(arguments: list[str]) -> int:
    """Live the lives that were asked for and print what is wrong with them."""
    if len(arguments) == 2 and ":" in arguments[1]:
        points = [(arguments[0], Kill.parse(arguments[1]))]
    else:
        stories = arguments[:1] or list(STORIES)
        kinds = [kind for kind in KINDS if kind in (arguments[1:] or KINDS)]
        points = [(story, kill) for story in stories for who in kinds for kill in kills(story, who)]
    wrong = problems(points)
    print("\n".join(wrong), f"{len(points)} crash points, {len(wrong)} of them wrong", sep="\n")
    return 1 if wrong else 0


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
