"""The entry point `holdfast-operator`: settings, logs, one replica, and Kopf around it on uvloop."""

from __future__ import annotations

import asyncio
import gc
import logging
import os
import sys
from collections.abc import Mapping

import kopf
import uvloop

from holdfast import __version__
from holdfast.app.handlers import kopf_settings, registry
from holdfast.app.kinds import REGISTERED
from holdfast.app.logs import configure
from holdfast.app.operator import Replica
from holdfast.app.settings import OperatorSettings, SettingsError, from_environment
from holdfast.cluster.credentials import CredentialsError, discover
from holdfast.cluster.transport import LEASE_CONNECTIONS, HttpTransport
from holdfast.seams.real import SystemClock, SystemRandom, TaskSpawner

# New containers that are not gone yet.
COLLECT_AFTER = 7000
EXIT_BROKEN = 1
EXIT_BAD_SETTINGS = 2

logger = logging.getLogger("holdfast.app.main")


async def run(settings: OperatorSettings, environ: Mapping[str, str]) -> None:
    """Run one replica until it is told to stop. Raises `CredentialsError`, and whatever Kopf dies of."""
    clock = SystemClock()
    # The API server's log then tells the replicas apart.
    agent = f"holdfast-operator/{settings.pod_name}"
    access = discover(environ, clock)
    async with (
        HttpTransport(access, user_agent=agent) as transport,
        HttpTransport(access, user_agent=agent, connections=LEASE_CONNECTIONS) as lease,
    ):
        replica = Replica(settings, transport, clock, SystemRandom(), TaskSpawner(), lease_transport=lease)
        handlers = registry(
            REGISTERED,
            access,
            clock,
            wake=replica.wake,
            start=replica.start,
            served=replica.served,
            stop=replica.stop,
        )
        await kopf.operator(registry=handlers, settings=kopf_settings(), standalone=True, clusterwide=True)


def collect_rarely() -> None:
    """Have Python look for cycles a tenth as often as it would, and not in what was there from the start.

    What a rush makes lives as long as its requests, and little of it is in cycles: looking through it all the time was
    a tenth of all CPU.
    """
    gc.collect()
    gc.freeze()
    gc.set_threshold(COLLECT_AFTER)


def main() -> None:
    """Run the operator; exit with 2 where settings or credentials are missing or wrong."""
    configure("INFO")
    try:
        settings = from_environment(os.environ)
        configure(settings.log_level)
        fields = {"version": __version__, "identity": settings.identity, "workers": settings.workers}
        logger.info("operator.started", extra={"fields": fields})
        collect_rarely()
        with asyncio.Runner(loop_factory=uvloop.new_event_loop) as runner:
            runner.run(run(settings, os.environ))
    except (SettingsError, CredentialsError) as error:
        logger.error("operator.bad_settings", extra={"fields": {"error": str(error)}})
        sys.exit(EXIT_BAD_SETTINGS)
    except Exception:
        # Whatever it is, the process ends, and its last line is a line of the log like all others.
        logger.exception("operator.broken")
        sys.exit(EXIT_BROKEN)


if __name__ == "__main__":
    main()
