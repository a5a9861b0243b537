"""Watching the trainer's directory: what is complete, and whether something has been stuck there for long.

The usual trap: with Orbax's defaults and one directory a host, every host waits for a file that only the first one
writes, so the first save hangs on all of them for ten minutes and then fails.
"""

from __future__ import annotations

import logging
from pathlib import Path
from typing import Final

import msgspec

from holdfast.api.wire import Health
from holdfast.checkpoint.detect import Scan, Unfinished, scan
from holdfast.checkpoint.volume import Volume, read_state, write_file
from holdfast.seams import Clock, Spawner

log = logging.getLogger(__name__)

_STUCK_AFTER_S: Final = 60.0


class _Told(msgspec.Struct, frozen=True):
    """The steps that the trainer declared, so that a restarted sidecar still knows them."""

    steps: dict[int, str]


class Watch:
    """Looks at one trainer's directory. The directory of the restored step is news only where it is declared anew."""

    def __init__(self, volume: Volume, format_: str, clock: Clock, spawner: Spawner) -> None:
        self._volume = volume
        self._format = format_
        self._clock = clock
        self._spawner = spawner
        self._restored: str | None = None
        self._told: dict[int, str] = {}
        self._stuck: dict[str, tuple[Unfinished, float]] = {}
        self._newest: int | None = None
        self.health = Health()

    async def load(self, restored: str | None) -> None:
        """Begin; `restored` is the directory of the restored step, if any."""
        self._restored = restored
        told = await self._spawner.blocking(lambda: read_state(self._volume.told, _Told))
        self._told = dict(told.steps) if told else {}

    async def declare(self, step: int, directory: str, committed: int | None) -> None:
        """Remember that the trainer declared a step complete. `directory` is relative to its mount, and checked.

        A directory that is used again holds its newest step alone. What is not newer than `committed`, or than what the
        same directory was declared to hold, is a repetition: clients repeat themselves to a restarted sidecar.
        """
        known = {number: place for number, place in self._told.items() if committed is None or number > committed}
        repeated = any(place == directory and number > step for number, place in known.items())
        if repeated or (committed is not None and step <= committed):
            return
        kept = {number: place for number, place in known.items() if place != directory}
        await self._remember(kept | {step: directory})

    async def take_back(self, step: int, directory: str) -> bool:
        """Forget that `directory` holds the step, as it was changed since; return whether that had been declared."""
        if self._told.get(step) != directory:
            return False
        await self._remember({number: place for number, place in self._told.items() if number != step})
        return True

    async def _remember(self, told: dict[int, str]) -> None:
        self._told = told
        document = msgspec.json.encode(_Told(steps=told))
        try:
            await self._spawner.blocking(lambda: write_file(self._volume.told, document))
        except OSError as error:
            # Only a restarted sidecar would miss it, and the client repeats what it declared.
            log.warning("checkpoint.declarations_not_written", extra={"error": str(error)})

    async def look(self) -> Scan:
        """Look once, and judge what is unfinished."""
        root, told = self._volume.data, dict(self._told)
        skip = [self._restored] if self._restored else []
        seen = await self._spawner.blocking(lambda: scan(root, self._format, told, skip=skip))
        self._judge(seen)
        return seen

    def _judge(self, seen: Scan) -> None:
        now = self._clock.monotonic()
        newest = seen.complete[-1].step if seen.complete else None
        if newest != self._newest:
            # Something came to its end: the clock starts anew for all that is unfinished.
            self._newest = newest
            self._stuck.clear()
        before, self._stuck = self._stuck, {}
        for unfinished in seen.unfinished:
            known = before.get(unfinished.directory)
            unchanged = known is not None and known[0] == unfinished
            self._stuck[unfinished.directory] = known if known is not None and unchanged else (unfinished, now)
        stuck = [step for step, since in self._stuck.values() if now - since > _STUCK_AFTER_S]
        self.health = _incomplete(stuck[0]) if stuck else Health()


def _incomplete(stuck: Unfinished) -> Health:
    return Health(
        healthy=False,
        reason="IncompleteCheckpoint",
        message=f"step {stuck.step} ({_printable(stuck.directory)}) was begun, and nothing was written to it for "
        f"{_STUCK_AFTER_S:.0f} s. With Orbax's default settings and one directory per host the first save hangs: make "
        "the manager with holdfast.client.orbax, or use a directory that all hosts share. A trainer that writes files "
        "itself must end with the file .holdfast-complete",
    )


def _printable(directory: str) -> str:
    """Return a name as text that can be reported; names on a volume are any bytes."""
    return Path(directory).name.encode(errors="backslashreplace").decode()
