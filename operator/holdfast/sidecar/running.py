"""`holdfast-sidecar run`: the native sidecar that commits what the trainer writes.

Looking and sending run side by side, so that a long upload never makes it miss a step that the trainer soon deletes.
SIGTERM comes when the last main container has ended: everything complete is then sent, and the process leaves without
waiting for other pods.
"""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Awaitable, Callable
from typing import Any, Final

from holdfast.api import wire
from holdfast.checkpoint.keeper import Keeper
from holdfast.checkpoint.layout import HIGHEST_STEP
from holdfast.seams import Clock, ObjectStore
from holdfast.sidecar.commands import Commander
from holdfast.sidecar.environment import Environment
from holdfast.sidecar.life import Life, Seams
from holdfast.sidecar.reporter import Sources
from holdfast.sidecar.termination import leave
from holdfast.sidecar.trainer_socket import TrainerSocket

log = logging.getLogger(__name__)

_TURN_S: Final = 1.0


class Ears:
    """Hears the trainer for the sidecar."""

    def __init__(self, keeper: Keeper, clock: Clock) -> None:
        self._keeper = keeper
        self._clock = clock
        self._step: int | None = None
        self._stepped_at: float | None = None
        self.progress = wire.Progress()

    def heard_progress(self, progress: wire.Progress) -> None:
        """Keep the newest, and when its step became another."""
        if progress.step is not None and progress.step != self._step:
            self._step, self._stepped_at = progress.step, self._clock.monotonic()
        self.progress = progress

    def step_age_s(self) -> float | None:
        """Return for how many seconds the step has been the same; None before the first."""
        return None if self._stepped_at is None else round(self._clock.monotonic() - self._stepped_at, 1)

    async def heard_complete(self, step: int, path: str) -> None:
        """Declare the step. Raises ValueError."""
        if not 0 <= step <= HIGHEST_STEP:
            raise ValueError(f"step {step} must be from 0 to {HIGHEST_STEP}: count steps of training, not tokens")
        await self._keeper.declare(step, path)

    async def heard_flush(self) -> dict[str, Any]:
        """Flush and say how far it came."""
        await self._keeper.flush()
        state = self._keeper.state
        return {"lastComplete": state.last_complete, "committed": state.committed}


async def run(environment: Environment, store: ObjectStore, seams: Seams, stop: asyncio.Event) -> int:
    """Keep what the trainer writes until `stop`, then finish, and return the exit code."""
    keeper = Keeper(environment.config, store, seams.clock, seams.random, seams.spawner, environment.volume)
    ears = Ears(keeper, seams.clock)
    socket = TrainerSocket(environment.socket, ears)
    commander = Commander(keeper, socket, seams.clock, seams.spawner)
    sources = Sources(
        lambda: keeper.state,
        lambda: ears.progress,
        lambda: commander.acknowledged,
        commander.take,
        ears.step_age_s,
    )
    # Before anything else: a volume that was not restored ends the process with a clear error.
    await keeper.look()
    await socket.open()
    try:
        async with Life("Sidecar", environment, sources, seams):
            work = seams.spawner.spawn(_keep(keeper, seams, stop), name="keep")
            await work
            interrupted = keeper.outcome("stopped before all that is complete was sent", interrupted=True)
            await seams.spawner.blocking(lambda: leave(environment.termination_log, interrupted))
            log.info("sidecar.finishing", extra={"last_complete": keeper.state.last_complete})
            outcome = await keeper.finish()
            await seams.spawner.blocking(lambda: leave(environment.termination_log, outcome))
        # All is told: should this be cut short, nothing but room in the bucket is lost.
        await keeper.tidy()
    finally:
        await socket.close()
    log.info(
        "sidecar.finished", extra={"kind": outcome.kind, "committed": outcome.committed, "detail": outcome.message}
    )
    return 0


async def _keep(keeper: Keeper, seams: Seams, stop: asyncio.Event) -> None:
    """Look and work until `stop`; what breaks one breaks both, and the kubelet starts the sidecar anew."""

    async def again(turn: Callable[[], Awaitable[bool]]) -> None:
        while not stop.is_set():
            if not await turn():
                await seams.clock.sleep(_TURN_S)

    looking = seams.spawner.spawn(again(keeper.look), name="look")
    working = seams.spawner.spawn(again(keeper.work), name="work")
    stopped = seams.spawner.spawn(stop.wait(), name="stop")
    ended: set[asyncio.Task[Any]] = set()
    try:
        ended, _ = await asyncio.wait({looking, working, stopped}, return_when=asyncio.FIRST_COMPLETED)
        for task in ended:
            await task
    finally:
        stopped.cancel()
        if stopped not in ended:
            # Something broke. After a stop both turns go on to their ends instead: finishing waits for the look, whose
            # thread cannot be stopped, and decides which upload is worth going on with.
            looking.cancel()
            working.cancel()
