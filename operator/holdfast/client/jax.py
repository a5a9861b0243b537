"""`jax.distributed` for pods that come and go: short time-outs, quick exits, and agreement between the hosts.

With JAX's defaults a host notices a dead peer after 100 s, then waits in a barrier for it at exit, and SIGTERM is
swallowed by the preemption service. `initialize` sets what a job wants whose gang is restarted as a whole: a peer
is missed after 10 s, an uncaught error ends the process at once, SIGTERM is heard.
"""

from __future__ import annotations

import os
import sys
import traceback
from dataclasses import dataclass
from types import TracebackType
from typing import Any

from holdfast.client import checkpoint, environment, termination

COORDINATOR = "JAX_COORDINATOR_ADDRESS"
PROCESSES = "JAX_NUM_PROCESSES"
PROCESS_ID = "JAX_PROCESS_ID"


@dataclass(frozen=True, slots=True)
class Rendezvous:
    """This process's place among the `count` processes of the run; `number` counts from 0."""

    number: int
    count: int


def initialize(
    *,
    initialization_timeout_s: int = 300,
    heartbeat_s: int = 10,
    shutdown_s: int = 10,
    termination_grace_s: float = 20.0,
) -> Rendezvous:
    """Join the run that the environment names, before any other use of JAX. Call it once, from the main thread.

    Without the variables that Holdfast sets for `runtime.framework: JAX` the process is a run of its own. Raises
    `EnvironmentInvalid` where they are incomplete, and JAX's error when the coordinator is not reached in time.
    """
    termination.install(termination_grace_s)
    # JAX's service would take SIGTERM for itself and leave the process running.
    os.environ.setdefault("JAX_ENABLE_PREEMPTION_SERVICE", "0")
    place = _place()
    sys.excepthook = _end_at_once
    if place.count > 1:
        import jax

        jax.distributed.initialize(
            os.environ[COORDINATOR],
            num_processes=place.count,
            process_id=place.number,
            initialization_timeout=initialization_timeout_s,
            heartbeat_timeout_seconds=heartbeat_s,
            shutdown_timeout_seconds=shutdown_s,
        )
    return place


@dataclass(frozen=True, slots=True)
class Decision:
    """What all hosts do after one and the same step.

    `save`: take a checkpoint. `stop`: a host was told to end, so everybody leaves after the save, since the run
    cannot go on without it.
    """

    save: bool
    stop: bool


class Coordinator:
    """Lets all hosts decide the same thing at the same step.

    A request for a checkpoint, a new cadence and SIGTERM reach each host at a moment of its own. If hosts acted on
    them alone, one would save a step that the others do not, and the run would hang. So every `interval` steps all
    hosts exchange what they have heard (one small all-gather) and act on the sum. Call `at` after every step, on
    every host.
    """

    def __init__(self, interval: int = 10) -> None:
        if interval < 1:
            raise ValueError("interval must be at least 1 step")
        self._interval = interval
        self._every = environment.every_steps()

    @property
    def every_steps(self) -> int:
        """Return the cadence that the hosts have agreed on."""
        return self._every

    def at(self, step: int) -> Decision:
        """Return what to do after `step`, counted from 1."""
        save = stop = False
        if step % self._interval == 0:
            request = checkpoint.requested()
            heard = _gather((int(request is not None), int(termination.requested()), checkpoint.every_steps()))
            save = any(row[0] for row in heard)
            stop = any(row[1] for row in heard)
            self._every = heard[0][2]
            if request is not None:
                checkpoint.served(request)
        return Decision(save=save or stop or step % self._every == 0, stop=stop)


def leave_stopped() -> None:
    """End the process after a decision to stop, with a code that tells who was asked: 143, or 75 for the others."""
    termination.leave(termination.EXIT_TERMINATED if termination.requested() else termination.EXIT_PEER_LOST)


def _place() -> Rendezvous:
    texts = {name: os.environ.get(name, "") for name in (COORDINATOR, PROCESSES, PROCESS_ID)}
    if not any(texts.values()):
        return Rendezvous(0, 1)
    if missing := [name for name, text in texts.items() if not text]:
        raise environment.EnvironmentInvalid(
            f"{', '.join(missing)} not set: set all of {COORDINATOR}, {PROCESSES}, {PROCESS_ID}, or none"
        )
    number, count = texts[PROCESS_ID], texts[PROCESSES]
    if not (number.isdecimal() and count.isdecimal() and int(number) < int(count)):
        raise environment.EnvironmentInvalid(f"{PROCESS_ID}={number!r} must be a number below {PROCESSES}={count!r}")
    return Rendezvous(int(number), int(count))


def _gather(values: tuple[int, ...]) -> list[list[int]]:
    """Return the values of all processes, in the order of their numbers."""
    import jax

    if jax.process_count() == 1:
        return [list(values)]
    import numpy
    from jax.experimental import multihost_utils

    rows: list[list[int]] = multihost_utils.process_allgather(numpy.asarray(values, numpy.int32)).tolist()
    return rows


def _end_at_once(kind: type[BaseException], error: BaseException, trace: TracebackType | None) -> None:
    """Print the error and end: the normal exit would wait in a barrier for peers that are gone or will fail.

    Code 75 says that the run broke (a peer died), 1 that this program failed.
    """
    traceback.print_exception(kind, error, trace)
    termination.leave(termination.EXIT_PEER_LOST if _is_broken_run(error) else 1)


def _is_broken_run(error: BaseException) -> bool:
    module: Any = sys.modules.get("jax")
    seen: BaseException | None = error
    while module is not None and seen is not None:
        if isinstance(seen, module.errors.JaxRuntimeError):
            return bool(module.process_count() > 1)
        seen = seen.__cause__ or seen.__context__
    return False
