"""What restore and the sidecar have in common as processes: their seams, their reports, and stopping in time."""

from __future__ import annotations

import asyncio
import contextlib
import logging
from dataclasses import dataclass
from types import TracebackType
from typing import Any, Final, TypeVar

from holdfast.api import wire
from holdfast.seams import Clock, Random, Spawner
from holdfast.sidecar.endpoint import Endpoint
from holdfast.sidecar.environment import Environment
from holdfast.sidecar.reporter import Reporter, Sources

T = TypeVar("T")

log = logging.getLogger(__name__)

# The last report must not hold up the end of a pod.
_LAST_REPORT_S: Final = 3.0


@dataclass(frozen=True, slots=True)
class Seams:
    """Time, randomness and tasks."""

    clock: Clock
    random: Random
    spawner: Spawner


class Life:
    """Reports from beginning to end; at the end the final state is posted once, if that goes quickly."""

    def __init__(self, role: wire.Role, environment: Environment, sources: Sources, seams: Seams) -> None:
        self._seams = seams
        self._endpoint: Endpoint | None = None
        self._reporter: Reporter | None = None
        self._tasks: list[asyncio.Task[Any]] = []
        config = environment.config
        if config.report_url:
            token = environment.token
            self._endpoint = Endpoint(config.report_url, environment.ca_pem, token, seams.spawner)
            self._reporter = Reporter(role, environment, sources, self._endpoint, seams.clock, seams.random)

    async def __aenter__(self) -> Life:
        if self._reporter is not None:
            self._tasks.append(self._seams.spawner.spawn(self._reporter.run(), name="report"))
            self._tasks.append(self._seams.spawner.spawn(self._reporter.poll(), name="long-poll"))
        return self

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        for task in self._tasks:
            task.cancel()
        await asyncio.gather(*self._tasks, return_exceptions=True)
        if self._reporter is not None and self._endpoint is not None:
            if error is None:
                last = self._seams.spawner.spawn(self._reporter.last(), name="last-report")
                await self._within(last, _LAST_REPORT_S)
            await self._endpoint.close()

    async def first_of(self, work: asyncio.Task[T], stop: asyncio.Event) -> T | None:
        """Return the result of `work`, or None where `stop` came first; `work` is then cancelled."""
        stopped = self._seams.spawner.spawn(stop.wait(), name="stop")
        try:
            await asyncio.wait({work, stopped}, return_when=asyncio.FIRST_COMPLETED)
        finally:
            stopped.cancel()
        if work.done():
            return await work
        work.cancel()
        with contextlib.suppress(asyncio.CancelledError):
            await work
        return None

    async def _within(self, task: asyncio.Task[Any], seconds: float) -> None:
        limit = self._seams.spawner.spawn(self._seams.clock.sleep(seconds), name="limit")
        await asyncio.wait({task, limit}, return_when=asyncio.FIRST_COMPLETED)
        for one in (task, limit):
            one.cancel()
        await asyncio.gather(task, limit, return_exceptions=True)
