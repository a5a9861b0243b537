"""`holdfast-sidecar`: the entry point of the init container, of the sidecar, and of its `preStop` hook."""

from __future__ import annotations

import argparse
import asyncio
import contextlib
import logging
import os
import signal
import sys
from collections.abc import Callable, Coroutine
from typing import Any, Final

from holdfast.checkpoint.errors import NotRestored
from holdfast.checkpoint.store.absent import AbsentStore
from holdfast.checkpoint.store.gcs import GcsStore
from holdfast.seams import ObjectStore
from holdfast.seams.real import SystemClock, SystemRandom, TaskSpawner
from holdfast.sidecar import logs
from holdfast.sidecar.environment import BadEnvironment, Environment, read
from holdfast.sidecar.flushing import flush
from holdfast.sidecar.life import Seams
from holdfast.sidecar.restoring import restore
from holdfast.sidecar.running import run

log = logging.getLogger("holdfast.sidecar")

EXIT_BROKEN: Final = 1
EXIT_BAD_ENVIRONMENT: Final = 2
# The trainer comes first: the sidecar takes the processor time that is left.
_NICE: Final = 10

Command = Callable[[Environment, ObjectStore, Seams, asyncio.Event], Coroutine[Any, Any, int]]

_COMMANDS: Final[dict[str, Command]] = {"restore": restore, "run": run, "flush": flush}


def main(arguments: list[str] | None = None) -> None:
    """Run one of the commands and leave the process with its exit code."""
    parser = argparse.ArgumentParser(prog="holdfast-sidecar", description="The data path of one pod.")
    parser.add_argument(
        "command",
        choices=sorted(_COMMANDS),
        help="restore, before the trainer starts; run, beside it; flush, from the preStop hook",
    )
    chosen: str = parser.parse_args(arguments).command
    logs.set_up(os.environ.get("HOLDFAST_LOG_LEVEL", "INFO"))
    try:
        environment = read(os.environ)
    except BadEnvironment as error:
        log.error("sidecar.bad_environment", extra={"error": str(error)})
        code = EXIT_BAD_ENVIRONMENT
    else:
        if chosen == "run":
            with contextlib.suppress(OSError):
                os.nice(_NICE)
        code = _run(_COMMANDS[chosen], environment)
    logging.shutdown()
    sys.stdout.flush()
    # A transfer that was given up may still be blocked in a thread; the process must not wait for it.
    os._exit(code)


def _run(command: Command, environment: Environment) -> int:
    loop = asyncio.new_event_loop()
    asyncio.set_event_loop(loop)
    try:
        return loop.run_until_complete(_wired(command, environment))
    except NotRestored as error:
        log.error("sidecar.not_restored", extra={"error": str(error)})
        return EXIT_BAD_ENVIRONMENT
    except Exception:
        # Whatever it is, the process has to end: only then does the kubelet start it anew.
        log.exception("sidecar.broken")
        return EXIT_BROKEN


async def _wired(command: Command, environment: Environment) -> int:
    """Give the command its seams and its store, and turn SIGTERM into an event.

    As the first process of its container it would not see a signal that it has no handler for.
    """
    stop = asyncio.Event()
    loop = asyncio.get_running_loop()
    for number in (signal.SIGTERM, signal.SIGINT):
        loop.add_signal_handler(number, stop.set)
    seams = Seams(SystemClock(), SystemRandom(), TaskSpawner())
    destination = environment.config.destination
    store: ObjectStore = GcsStore(destination, seams.spawner, seams.clock) if destination else AbsentStore()
    return await command(environment, store, seams, stop)


if __name__ == "__main__":
    main()
