"""What follows the end of an attempt: the next one, after a back-off, or the end of the job."""

from __future__ import annotations

from dataclasses import dataclass
from datetime import datetime, timedelta

from holdfast.api import durations
from holdfast.api.reasons import Reason
from holdfast.training.endings import Ending
from holdfast.training.view import View


@dataclass(frozen=True, slots=True)
class Restart:
    """Go on at `attempt`, not before `not_before`. `restart_times` are the restarts that count, oldest first."""

    attempt: int
    not_before: datetime | None
    restart_times: tuple[datetime, ...]


@dataclass(frozen=True, slots=True)
class GiveUp:
    """The job has failed for good."""

    reason: Reason
    message: str


def counted_restarts(view: View) -> tuple[datetime, ...]:
    """Return the counted restarts that are still inside the window."""
    window = timedelta(seconds=durations.seconds(view.spec.recovery.restart_window))
    return tuple(time for time in view.status.restart_times or () if view.now - time < window)


def after(view: View, end: Ending) -> Restart | GiveUp:
    """Decide what follows `end`. Causes outside the program restart at once and are not counted."""
    recovery = view.spec.recovery
    times = counted_restarts(view)
    if end.final:
        return GiveUp(end.cause, end.message)
    following = max(view.attempt + 1, end.next_attempt or 0)
    if not end.counted:
        return Restart(following, None, times)
    if len(times) >= recovery.max_restarts:
        return GiveUp(
            Reason.MAX_RESTARTS_EXCEEDED,
            f"{len(times)} restarts within {recovery.restart_window} are all that recovery.maxRestarts allows. "
            f"The last attempt: {end.message}",
        )
    longest = durations.seconds(recovery.backoff.max)
    delay = min(durations.seconds(recovery.backoff.initial) * 2 ** min(len(times), 30), longest)
    return Restart(following, view.now + timedelta(seconds=delay) if delay else None, (*times, view.now))


def uncounted(times: tuple[datetime, ...]) -> tuple[datetime, ...]:
    """Return the counted restarts without the newest one, whose cause turned out to lie outside the program."""
    return times[:-1]
