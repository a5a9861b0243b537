"""`holdfast-sidecar flush`: the `preStop` hook, which has the sidecar send what is complete while the trainer stops.

It runs when the pod's end begins, together with the trainer's own, so the time until the trainer has ended is not lost.
"""

from __future__ import annotations

import asyncio
import logging

from holdfast.seams import ObjectStore
from holdfast.sidecar.environment import Environment
from holdfast.sidecar.life import Seams
from holdfast.sidecar.trainer_socket import FlushFailed, ask_for_flush

log = logging.getLogger(__name__)


async def flush(environment: Environment, store: ObjectStore, seams: Seams, stop: asyncio.Event) -> int:
    """Wait until everything complete is sent, the time is up, or `stop`; return 0 where it was sent."""
    ask = seams.spawner.spawn(ask_for_flush(environment.socket), name="flush")
    limit = seams.spawner.spawn(seams.clock.sleep(environment.config.flush_timeout_s), name="limit")
    stopped = seams.spawner.spawn(stop.wait(), name="stop")
    await asyncio.wait({ask, limit, stopped}, return_when=asyncio.FIRST_COMPLETED)
    if not ask.done():
        log.warning("flush.not_finished", extra={"limit_s": environment.config.flush_timeout_s})
        return 1
    try:
        answer = await ask
    except FlushFailed as error:
        log.warning("flush.failed", extra={"error": str(error)})
        return 1
    log.info("flush.done", extra={"answer": answer})
    return 0
