"""Kopf's part: the process's shell and one trigger. The only module with Kopf decorators.

Kopf delivers events of our kinds, and each only wakes a key: what is reconciled is read from our own caches. So that
Kopf writes nothing at all, its storages hold nothing, its events are off, and its finalizer is a name that no object
has (it would strip its own finalizer from objects otherwise).
"""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable, Iterator
from typing import Any

import kopf

from holdfast.app.kinds import Registration, Wake
from holdfast.app.kopf_session import session
from holdfast.cluster.credentials import Access
from holdfast.cluster.objects import Key
from holdfast.planning.plan import Resource
from holdfast.seams import Clock

# Kopf logs in again, at once, whenever the API server does not know who it is.
LOGIN_AGAIN_S = 1.0
# Our own watch of the same objects wakes the same key, and is the faster one.
TRIGGER_S = 1.0
FINALIZER = "holdfast.dev/kopf-never-adds-this"


class NoDiffs(kopf.DiffBaseStorage):
    """Keeps no copy of objects: nothing here reacts to differences."""

    def build(self, *, body: Any, extra_fields: Any = None) -> Any:
        """Return an empty essence."""
        return {}

    def fetch(self, *, body: Any) -> Any:
        """Return nothing."""

    def store(self, *, body: Any, patch: Any, essence: Any) -> None:
        """Keep nothing."""


class NoProgress(kopf.ProgressStorage):
    """Keeps no progress: no handler has any."""

    def fetch(self, *, key: Any, body: Any) -> Any:
        """Return nothing."""

    def store(self, *, key: Any, record: Any, body: Any, patch: Any) -> None:
        """Keep nothing."""

    def purge(self, *, key: Any, body: Any, patch: Any) -> None:
        """Have nothing to purge."""

    def touch(self, *, body: Any, patch: Any, value: Any) -> None:
        """Touch nothing: a touch would be a write."""

    def clear(self, *, essence: Any) -> Any:
        """Return the essence as it is."""
        return essence


class EndlessBackoffs:
    """Delays in seconds that never end: Kopf gives up, and its process with it, after the last one."""

    def __iter__(self) -> Iterator[float]:
        """Yield 1, 2, 4, 8 and then 15 for ever."""
        yield from (1.0, 2.0, 4.0, 8.0)
        while True:
            yield 15.0


def kopf_settings() -> kopf.OperatorSettings:
    """Return Kopf's settings under which it only watches."""
    settings = kopf.OperatorSettings()
    settings.posting.enabled = False
    settings.peering.standalone = True
    settings.scanning.disabled = True
    settings.queueing.idle_timeout = 0.3
    settings.queueing.exit_timeout = 2.0
    settings.watching.server_timeout = 270
    settings.watching.client_timeout = 300
    settings.watching.connect_timeout = 10
    settings.watching.reconnect_backoff = 1.0
    settings.networking.request_timeout = 30
    settings.networking.connect_timeout = 10
    settings.networking.error_backoffs = EndlessBackoffs()
    settings.persistence.finalizer = FINALIZER
    settings.persistence.diffbase_storage = NoDiffs()
    settings.persistence.progress_storage = NoProgress()
    settings.execution.max_workers = 2
    # Below the pod's terminationGracePeriodSeconds, so that the process ends by itself whatever hangs.
    settings.process.ultimate_exiting_timeout = 18
    return settings


def registry(
    registrations: tuple[Registration, ...],
    access: Access,
    clock: Clock,
    *,
    wake: Wake,
    start: Callable[[], Awaitable[None]],
    served: Callable[[], Awaitable[None]],
    stop: Callable[[], Awaitable[None]],
) -> kopf.OperatorRegistry:
    """Return the registry with every handler: start and stop of the engine, login, and the triggers.

    Probes are not Kopf's: its endpoint says nothing about watches, and hangs while a handler fails.
    """
    made = kopf.OperatorRegistry()

    @kopf.on.startup(registry=made)
    async def on_startup(**_: Any) -> None:
        await start()
        try:
            # Kopf's own watches begin after this. They call it an error when a kind is not served yet.
            await served()
        except asyncio.CancelledError:
            # Kopf does not clean up after a start that did not end.
            await stop()
            raise

    @kopf.on.cleanup(registry=made)
    async def on_cleanup(**_: Any) -> None:
        await stop()

    logged_in = False

    @kopf.on.login(registry=made)
    async def on_login(**_: Any) -> kopf.AiohttpSession:
        nonlocal logged_in
        if logged_in:
            access.token.refresh()
            await clock.sleep(LOGIN_AGAIN_S)
        logged_in = True
        return session(access)

    for registration in registrations:
        _trigger(made, registration.resource, wake)
    return made


def _trigger(made: kopf.OperatorRegistry, resource: Resource, wake: Wake) -> None:
    @kopf.on.event(resource.group, resource.version, resource.plural, registry=made)
    async def on_event(type: str | None, namespace: str | None, name: str | None, **_: Any) -> None:
        # Changes do not come here (see `kopf_session`); our own watch shows them.
        if type != "MODIFIED":
            key: Key = (namespace or "", name or "")
            wake(resource, key, within_s=TRIGGER_S)
