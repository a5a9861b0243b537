"""The commands that are still to be acknowledged, by pod, and waiting for them to change."""

from __future__ import annotations

import asyncio
from collections.abc import Iterable

from holdfast.api.wire import Command
from holdfast.cluster.waiting import wait_for_event
from holdfast.seams import Clock, Spawner


class CommandBoard:
    """Written by passes, read by the report endpoint."""

    def __init__(self, clock: Clock, spawner: Spawner) -> None:
        self._clock = clock
        self._spawner = spawner
        self._commands: dict[str, tuple[Command, ...]] = {}
        self._waiters: dict[str, set[asyncio.Event]] = {}

    def put(self, pod_uid: str, commands: tuple[Command, ...]) -> None:
        """Replace the commands of a pod, and wake its long polls where that changes anything."""
        if self._commands.get(pod_uid, ()) == commands:
            return
        if commands:
            self._commands[pod_uid] = commands
        else:
            self._commands.pop(pod_uid, None)
        for event in self._waiters.get(pod_uid, ()):
            event.set()

    def drop(self, pod_uids: Iterable[str]) -> None:
        """Withdraw all commands of these pods."""
        for uid in pod_uids:
            self.put(uid, ())

    def of(self, pod_uid: str) -> tuple[Command, ...]:
        """Return the commands of a pod."""
        return self._commands.get(pod_uid, ())

    async def wait(self, pod_uid: str, known: tuple[Command, ...], seconds: float) -> tuple[Command, ...]:
        """Return the pod's commands as soon as they differ from `known`, at the latest after `seconds`."""
        if self.of(pod_uid) != known or seconds <= 0:
            return self.of(pod_uid)
        event = asyncio.Event()
        self._waiters.setdefault(pod_uid, set()).add(event)
        try:
            await wait_for_event(event, seconds, self._clock, self._spawner)
        finally:
            waiters = self._waiters[pod_uid]
            waiters.discard(event)
            if not waiters:
                del self._waiters[pod_uid]
        return self.of(pod_uid)

    def __len__(self) -> int:
        """Return how many pods have commands."""
        return len(self._commands)
