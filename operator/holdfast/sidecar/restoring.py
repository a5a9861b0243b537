"""`holdfast-sidecar restore`: the init container that brings the agreed checkpoint onto the volume."""

from __future__ import annotations

import asyncio
import logging

from holdfast.api import wire
from holdfast.checkpoint.restore import RestoreStep
from holdfast.seams import ObjectStore
from holdfast.sidecar.environment import Environment
from holdfast.sidecar.life import Life, Seams
from holdfast.sidecar.reporter import Sources
from holdfast.sidecar.termination import EXIT_CODES, leave, tell_step

log = logging.getLogger(__name__)


async def restore(environment: Environment, store: ObjectStore, seams: Seams, stop: asyncio.Event) -> int:
    """Restore, report meanwhile, and return the exit code. `stop` ends it early."""
    config = environment.config
    step = RestoreStep(config, store, seams.clock, seams.random, seams.spawner, environment.volume)
    sources = Sources(lambda: step.state, wire.Progress, tuple, lambda _: None)
    async with Life("Restore", environment, sources, seams) as life:
        work = seams.spawner.spawn(step.run(), name="restore")
        outcome = await life.first_of(work, stop)
        if outcome is None:
            outcome = wire.Outcome(
                kind="Interrupted",
                message=f"the pod was stopped while waiting for {step.state.waiting_for or 'the bucket'}",
            )
        if outcome.kind == "Restored":
            await seams.spawner.blocking(lambda: tell_step(environment.restored_step, outcome.step))
        await seams.spawner.blocking(lambda: leave(environment.termination_log, outcome))
    log.info("restore.ended", extra={"kind": outcome.kind, "step": outcome.step, "detail": outcome.message})
    return EXIT_CODES[outcome.kind]
