"""Keeping the operator informed, without ever standing in the way of the data.

The full state is posted on change at most once an interval, at once where it is something that others wait for, and as
a heartbeat otherwise. While commands are possible the operator asks for long polls, which run in a task of their own.
An operator that is away costs nothing but these attempts.
"""

from __future__ import annotations

import logging
from collections.abc import Callable, Iterable
from dataclasses import dataclass
from typing import Final

import msgspec

from holdfast.api import wire
from holdfast.checkpoint.state import EngineState
from holdfast.seams import Clock, Random
from holdfast.sidecar.endpoint import Endpoint, ReportFailed
from holdfast.sidecar.environment import Environment

log = logging.getLogger(__name__)

_TURN_S: Final = 0.5
_FIRST_PAUSE_S: Final = 1.0
_LONGEST_PAUSE_S: Final = 30.0
_LONGEST_WAIT_S: Final = 60.0


@dataclass(slots=True)
class Sources:
    """Where a report's fields come from, and where the commands of an answer go."""

    state: Callable[[], EngineState]
    progress: Callable[[], wire.Progress]
    acknowledged: Callable[[], tuple[str, ...]]
    commands: Callable[[Iterable[wire.Command]], None]
    step_age_s: Callable[[], float | None] = lambda: None


class Reporter:
    """Posts reports for one restore step or sidecar."""

    def __init__(
        self,
        role: wire.Role,
        environment: Environment,
        sources: Sources,
        endpoint: Endpoint,
        clock: Clock,
        random: Random,
    ) -> None:
        self._role: wire.Role = role
        self._environment = environment
        self._sources = sources
        self._endpoint = endpoint
        self._clock = clock
        self._random = random
        # A restarted sidecar must not seem older than its earlier life: the number begins with the time.
        self._sequence = int(clock.now().timestamp() * 1000)
        self._answer = wire.Answer()
        self._posted: wire.Report | None = None
        self._posted_at = 0.0
        self._silent = False

    async def run(self) -> None:
        """Post for ever; cancel it to stop."""
        pause = _FIRST_PAUSE_S
        while True:
            report = self.compose()
            if not self._is_due(report):
                await self._clock.sleep(_TURN_S)
            elif await self._post(report):
                pause = _FIRST_PAUSE_S
            else:
                await self._clock.sleep(self._random.uniform(pause / 2, pause))
                pause = min(_LONGEST_PAUSE_S, 2 * pause)

    async def poll(self) -> None:
        """Hold long polls for ever while the operator asks for them; cancel it to stop."""
        pause = _FIRST_PAUSE_S
        while True:
            wait_s = min(_LONGEST_WAIT_S, self._answer.wait_s)
            if wait_s <= 0 or self._posted is None:
                await self._clock.sleep(_TURN_S)
            elif await self._post(self.compose(), wait_s):
                pause = _FIRST_PAUSE_S
                # An operator that answers at once, because a command is still open, is not asked without a breath.
                await self._clock.sleep(_TURN_S)
            else:
                await self._clock.sleep(self._random.uniform(pause / 2, pause))
                pause = min(_LONGEST_PAUSE_S, 2 * pause)

    async def last(self) -> bool:
        """Post the final state once and return whether it arrived."""
        return await self._post(self.compose())

    def compose(self) -> wire.Report:
        """Return the state as it is now."""
        state, config = self._sources.state(), self._environment.config
        self._sequence += 1
        return wire.Report(
            role=self._role,
            namespace=config.namespace,
            job=config.job,
            job_uid=config.job_uid,
            attempt=config.attempt,
            slot=config.slot,
            pod_name=self._environment.pod_name,
            pod_uid=self._environment.pod_uid,
            sequence=self._sequence,
            phase=state.phase,
            store=state.store,
            health=state.health,
            progress=self._sources.progress(),
            run=state.run,
            round=state.round,
            restored_step=state.restored_step,
            last_complete=state.last_complete,
            part_written=state.part_written,
            committed=state.committed,
            commits=state.commits,
            damages=state.damages,
            pending_bytes=state.pending_bytes,
            waiting_for=state.waiting_for,
            acknowledged=self._sources.acknowledged(),
            step_age_s=self._sources.step_age_s(),
        )

    def _is_due(self, report: wire.Report) -> bool:
        before = self._posted
        if before is None or _urgent(report) != _urgent(before):
            return True
        elapsed = self._clock.monotonic() - self._posted_at
        if elapsed >= self._answer.heartbeat_s:
            return True
        same = msgspec.structs.replace(report, sequence=before.sequence, step_age_s=before.step_age_s) == before
        return not same and elapsed >= max(1.0, self._answer.interval_s)

    async def _post(self, report: wire.Report, wait_s: float = 0.0) -> bool:
        if not wait_s:
            self._posted, self._posted_at = report, self._clock.monotonic()
        try:
            answer = await self._endpoint.post(report, wait_s)
            self._sources.commands(answer.commands)
        except ReportFailed as error:
            if not self._silent:
                # Once for each absence: an operator may be away for long.
                log.warning("sidecar.report_failed", extra={"error": str(error)})
            return self._failed(wait_s)
        except Exception:
            # A report that cannot even be written must not end all later ones.
            if not self._silent:
                log.exception("sidecar.report_broken")
            return self._failed(wait_s)
        if self._silent:
            log.info("sidecar.report_arrived_again")
            self._silent = False
        self._answer = answer
        return True

    def _failed(self, wait_s: float) -> bool:
        self._silent = True
        if not wait_s:
            # What did not arrive was not posted.
            self._posted = None
        return False


def _urgent(report: wire.Report) -> tuple[object, ...]:
    """What others wait for: these fields are posted the moment they change."""
    return (
        report.phase,
        report.store.ready,
        report.store.reason,
        report.health.reason,
        report.run,
        report.round,
        report.part_written,
        report.committed,
        report.acknowledged,
        len(report.damages),
    )
