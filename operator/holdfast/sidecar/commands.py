"""Carrying out the operator's commands, each exactly once, and acknowledging it when it is done."""

from __future__ import annotations

import logging
from collections import deque
from collections.abc import Iterable
from typing import Final

from holdfast.api import wire
from holdfast.checkpoint.keeper import Keeper
from holdfast.checkpoint.runs import moment
from holdfast.seams import Clock, Spawner
from holdfast.sidecar.trainer_socket import TrainerSocket

log = logging.getLogger(__name__)

_TURN_S: Final = 0.5
_REMEMBERED: Final = 64
# The share of a drain's time that a trainer gets to write one more step, and the most that it gets.
_SAVE_SHARE: Final = 0.5
_LONGEST_SAVE_S: Final = 120.0


class Commander:
    """Takes commands from the operator's answers."""

    def __init__(self, keeper: Keeper, socket: TrainerSocket, clock: Clock, spawner: Spawner) -> None:
        self._keeper = keeper
        self._socket = socket
        self._clock = clock
        self._spawner = spawner
        self._active: set[str] = set()
        self._drained_through: dict[str, int] = {}
        self._done: deque[str] = deque(maxlen=_REMEMBERED)

    @property
    def acknowledged(self) -> tuple[str, ...]:
        """The ids of the newest commands that were carried out."""
        return tuple(self._done)

    def take(self, commands: Iterable[wire.Command]) -> None:
        """Begin with those that are new; the operator repeats them until they are acknowledged."""
        for command in commands:
            if command.id not in self._active and command.id not in self._done:
                self._active.add(command.id)
                self._spawner.spawn(self._carry_out(command), name=f"command-{command.kind}")

    async def _carry_out(self, command: wire.Command) -> None:
        log.info("sidecar.commanded", extra={"kind": command.kind, "id": command.id, "deadline": command.deadline})
        try:
            if command.kind == "Checkpoint":
                done = await self._checkpoint(command)
            elif command.kind == "Drain":
                done = await self._drain(command)
            else:
                done = self._cadence(command)
        except ValueError as error:
            log.warning("sidecar.command_refused", extra={"id": command.id, "error": str(error)})
            done = True
        finally:
            self._active.discard(command.id)
        if done:
            self._done.append(command.id)
            self._drained_through.pop(command.id, None)

    async def _checkpoint(self, command: wire.Command) -> bool:
        end = self._end(command)
        # What is complete by now is old, even where no look has found it yet.
        await self._keeper.look()
        before = self._keeper.state.last_complete
        asked = self._ask(command) > 0
        try:
            while self._clock.monotonic() < end:
                state = self._keeper.state
                newest = state.last_complete
                is_new = newest is not None and (before is None or newest > before)
                committed = state.committed is not None and newest is not None and state.committed >= newest
                # On a shared volume the first slot commits, and answers the same command for itself.
                settled = newest is None or committed or not state.takes_part
                # Nobody who could write one on request: what is there is all that can come.
                if settled and (is_new or not asked):
                    break
                await self._clock.sleep(_TURN_S)
        finally:
            self._socket.withdraw(command.id)
        return True

    async def _drain(self, command: wire.Command) -> bool:
        """Drain; not done where something complete could not be sent in time, so that it is begun again."""
        end = self._end(command)
        await self._keeper.look()
        before = self._keeper.state.last_complete
        try:
            if self._ask(command) > 0:
                now = self._clock.monotonic()
                save_by = now + min(_LONGEST_SAVE_S, _SAVE_SHARE * (end - now))
                while self._clock.monotonic() < save_by and self._keeper.state.last_complete == before:
                    await self._clock.sleep(_TURN_S)
            # Begun again, it waits for the same step: a trainer that goes on must not put the end off.
            through = self._drained_through.setdefault(command.id, self._keeper.state.last_complete or 0)
            return await self._keeper.flush(max(0.0, end - self._clock.monotonic()), through=through)
        finally:
            self._socket.withdraw(command.id)

    def _cadence(self, command: wire.Command) -> bool:
        every = command.every_steps
        if every is None or every < 1:
            raise ValueError("everySteps must be at least 1")
        self._keeper.every_steps = every
        self._socket.tell({"type": "cadence", "everySteps": every}, standing="cadence")
        return True

    def _ask(self, command: wire.Command) -> int:
        return self._socket.tell(
            {"type": "checkpoint", "id": command.id, "deadline": command.deadline}, standing=command.id
        )

    def _end(self, command: wire.Command) -> float:
        """Return the deadline on the monotonic clock. Raises ValueError."""
        return self._clock.monotonic() + (moment(command.deadline) - self._clock.now()).total_seconds()
