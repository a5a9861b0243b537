"""The restore step: before a trainer starts, all slots agree on one commit and each holds its own part of it.

It takes the prefix and the fence, says that it takes part, then goes through the rounds: fetch and verify this slot's
part of the proposed commit, say so, wait until all have. Only an agreed commit is moved to where the trainer looks, and
only then is what older attempts left on the volume removed. Every step can be repeated: run again in the same pod, it
ends the same.
"""

from __future__ import annotations

from collections.abc import Awaitable, Callable
from pathlib import Path
from typing import Final, TypeVar

import msgspec

from holdfast.api.wire import Commit as CommitReport
from holdfast.api.wire import Damage, Outcome, OutcomeKind, SidecarConfig, StoreState
from holdfast.checkpoint import rounds, runs
from holdfast.checkpoint.commit import reported
from holdfast.checkpoint.detect import scan_complete
from holdfast.checkpoint.errors import Damaged, Refusal
from holdfast.checkpoint.gang import FIRST_SLOT, takes_part
from holdfast.checkpoint.manifests import ManifestError, Plan, Verdict
from holdfast.checkpoint.prepare import Prepared, Preparer
from holdfast.checkpoint.state import EngineState
from holdfast.checkpoint.store.retrying import ENDLESS, PatientStore, Retrier
from holdfast.checkpoint.volume import RunState, Volume, VolumeOwner
from holdfast.seams import Clock, ObjectStore, Random, Spawner

T = TypeVar("T")

_FIRST_PAUSE_S: Final = 0.5
_LONGEST_PAUSE_S: Final = 5.0
_VOLUME_PAUSE_S: Final = 10.0
# Who is not the first slot leaves it this long to propose.
_PROPOSE_AFTER_S: Final = 4.0
# How many damages a report carries.
_REPORTED: Final = 10


class RestoreStep:
    """Restores one slot in one attempt. It knows no signals or arguments; `run` can be called again after a crash."""

    def __init__(
        self, config: SidecarConfig, store: ObjectStore, clock: Clock, random: Random, spawner: Spawner, volume: Path
    ) -> None:
        self._config = config
        self._clock = clock
        self._random = random
        self._spawner = spawner
        self._volume = Volume(volume, config.slot, config.attempt)
        self._store = PatientStore(store, Retrier(ENDLESS, clock, random, self._on_store))
        self._preparer = Preparer(config, self._store, spawner, self._volume, self._expect, self._receive)
        self._takes_part = takes_part(config)
        self._state = EngineState()

    @property
    def state(self) -> EngineState:
        """What there is to report now."""
        return self._state

    async def run(self) -> Outcome:
        """Restore, however long it takes, and return what the container leaves behind.

        Errors that may pass, a missing bucket and missing rights are reported in `state.store` and waited for.
        """
        self._update(phase="Restoring")
        try:
            outcome = await self._run()
        except Refusal as refusal:
            outcome = refusal.outcome
        except ManifestError as error:
            # A document that decides the agreement is unreadable, or was written by a newer Holdfast.
            outcome = self._ended("RestoreRefused", f"cannot go on from {self._config.destination}: {error}")
        self._update(phase="Finished", waiting_for="", pending_bytes=0)
        return msgspec.structs.replace(outcome, damages=self._state.damages)

    async def _run(self) -> Outcome:
        if self._takes_part:
            await self._take_volume()
        await self._on_volume(self._volume.prepare)
        known = await self._spawner.blocking(lambda: self._volume.load_run(self._config.job_uid))
        if known is not None and known.placed:
            return self._restored(known)
        if not self._config.destination:
            return await self._settle(RunState(job_uid=self._config.job_uid, attempt=self._config.attempt), None)
        await runs.claim(self._store, self._config)
        run = await runs.enter(self._store, self._config)
        self._update(run=run)
        if self._takes_part:
            await rounds.enrol(self._store, run, self._config.slot, await self._local_steps())
        number, plan = 1, await self._plan(run, 1, None)
        while True:
            self._update(round=number)
            if plan.kind == "NoRestorableCheckpoint":
                return self._ended("NoRestorableCheckpoint", plan.message)
            if plan.kind == "Refused":
                return self._ended("RestoreRefused", plan.message)
            prepared = await self._answer(run, number, plan) if self._takes_part else None
            if await self._agreed(run, number, plan):
                return await self._settle(await self._decided(run, number, plan, prepared), prepared)
            number, plan = number + 1, await self._plan(run, number + 1, plan)

    async def _take_volume(self) -> None:
        """Make the volume this job's. Raises `Refusal` where a newer job has it: its data is not ours to touch."""
        mine = VolumeOwner(job_created=self._config.job_created, job_uid=self._config.job_uid)
        other = await self._on_volume(lambda: self._volume.take_over(mine))
        if other is not None:
            message = f"the checkpoint volume belongs to the job with the UID {other.job_uid}, which was created later"
            raise Refusal(msgspec.structs.replace(self._ended("PrefixTaken", message), seen_uid=other.job_uid))

    async def _local_steps(self) -> tuple[int, ...]:
        """Return the complete steps that older attempts left on this slot's volume."""

        def look() -> tuple[int, ...]:
            directories = self._volume.older_data()
            return tuple(
                sorted({step.step for path in directories for step in scan_complete(path, self._config.format)})
            )

        return await self._spawner.blocking(look)

    async def _plan(self, run: int, number: int, previous: Plan | None) -> Plan:
        """Wait for a round's plan, or propose it once all slots are there."""
        pause, complete_since = _FIRST_PAUSE_S, -1.0
        while True:
            plan = await rounds.find_plan(self._store, run, number)
            if plan is not None:
                return plan
            slots = await rounds.enrolled(self._store, run)
            missing = self._config.parts - len(slots)
            if missing > 0:
                self._wait(f"{missing} of {self._config.parts} slots to begin their restore")
            elif self._takes_part:
                # All may propose; that one does it first saves the others a listing of the whole prefix.
                now = self._clock.monotonic()
                complete_since = now if complete_since < 0 else complete_since
                if slots[0] == self._config.slot or now - complete_since >= _PROPOSE_AFTER_S:
                    return await rounds.propose(self._store, self._config, run, number, previous)
                self._wait(f"the plan of restore round {number}")
            pause = await self._pause(run, pause)

    async def _answer(self, run: int, number: int, plan: Plan) -> Prepared | None:
        """Prepare what the plan proposes and give this slot's verdict. Raises `Refusal`.

        Damage found after an own `Ok` ends this pod: the others may have started on that word.
        """
        before = await rounds.own_verdict(self._store, run, number, self._config.slot)
        if plan.commit is None or (before is not None and before.verdict == "Veto"):
            await rounds.speak(self._store, run, number, self._config.slot, Verdict(verdict="Ok"))
            return None
        ref = plan.commit
        self._wait(f"the download of run {ref.run}, step {ref.step}")
        prepared: Prepared | None = None
        verdict = Verdict(verdict="Ok")
        try:
            prepared = await self._patiently(lambda: self._preparer.prepare(ref))
        except Damaged as damage:
            if before is not None:
                self._add_damage(Damage(run=ref.run, step=ref.step, object=damage.object, problem=damage.problem))
                message = f"damage found after this slot had agreed: {damage}"
                raise Refusal(self._ended("Interrupted", message)) from damage
            verdict = Verdict(verdict="Veto", object=damage.object, problem=damage.problem)
        await rounds.speak(self._store, run, number, self._config.slot, verdict)
        return prepared

    async def _agreed(self, run: int, number: int, plan: Plan) -> bool:
        """Wait until all slots have said Ok, or one has vetoed. Raises `Refusal` where a newer run takes over."""
        pause = _FIRST_PAUSE_S
        while True:
            tally = await rounds.tally(self._store, run, number)
            if tally.vetoes:
                self._add_damage(*rounds.damages(plan, tally.vetoes))
                return False
            missing = self._config.parts - tally.ok
            if missing <= 0:
                return True
            self._wait(f"{missing} of {self._config.parts} slots to have their part in restore round {number}")
            pause = await self._pause(run, pause)

    async def _decided(self, run: int, number: int, plan: Plan, prepared: Prepared | None) -> RunState:
        """Return what is recorded for the sidecar, not yet placed."""
        state = RunState(job_uid=self._config.job_uid, attempt=self._config.attempt, run=run, round=number)
        if plan.commit is None:
            return state
        if prepared is None:
            # On a shared volume the first slot restores; the others only learn which step it was.
            restored = CommitReport(run=plan.commit.run, step=plan.commit.step, committed_at="")
            return msgspec.structs.replace(state, restored=restored)
        restored = reported(self._config, prepared.commit)
        return msgspec.structs.replace(state, restored=restored, directory=prepared.part.directory)

    async def _settle(self, state: RunState, prepared: Prepared | None) -> Outcome:
        """Move what was restored to the trainer's directory, remove what is older, and record that all is done."""
        if state.run and not self._takes_part:
            state = await self._first_slot_done(state)
        placed = msgspec.structs.replace(state, placed=True)

        def settle() -> None:
            # Once more, since the first slot may have cleared the volume of a former job in the meantime.
            self._volume.prepare()
            if prepared is not None:
                self._preparer.place(prepared.part)
            if state.run:
                self._volume.forget_older(data=self._takes_part)
            self._volume.save_run(placed)

        await self._on_volume(settle)
        return self._restored(placed)

    async def _first_slot_done(self, state: RunState) -> RunState:
        """On a shared volume nobody starts before the first slot has put the step in its place."""
        first = Volume(self._volume.root, FIRST_SLOT, self._config.attempt)
        while True:
            theirs = await self._spawner.blocking(lambda: first.load_run(self._config.job_uid))
            if theirs is not None and theirs.placed:
                return theirs
            self._wait("the first slot to put the restored step on the shared volume")
            await self._pause(state.run, _LONGEST_PAUSE_S)

    def _restored(self, state: RunState) -> Outcome:
        step = state.restored.step if state.restored else None
        commits = (state.restored,) if state.restored else ()
        self._update(run=state.run or None, round=state.round, restored_step=step, commits=commits)
        return Outcome(
            kind="Restored", run=state.run or None, step=step, object=state.restored.object if state.restored else ""
        )

    def _ended(self, kind: OutcomeKind, message: str) -> Outcome:
        return Outcome(kind=kind, message=message, run=self._state.run)

    async def _pause(self, run: int, seconds: float) -> float:
        """Wait with jitter, then read the fence; return the next pause. Raises `Refusal`."""
        await self._clock.sleep(self._random.uniform(seconds / 2, seconds))
        newer = await runs.newer_run(self._store, run)
        if newer == run:
            message = f"the objects of run {run} were deleted from the destination while it was restoring"
            raise Refusal(self._ended("Interrupted", message))
        if newer is not None:
            raise runs.superseded(newer, await runs.read_run(self._store, newer), self._config.job_uid)
        return min(_LONGEST_PAUSE_S, 1.5 * seconds)

    async def _on_volume(self, call: Callable[[], T]) -> T:
        return await self._patiently(lambda: self._spawner.blocking(call))

    async def _patiently(self, call: Callable[[], Awaitable[T]]) -> T:
        """Repeat what fails on the volume, such as for want of room, saying so; it may pass."""
        while True:
            try:
                return await call()
            except PermissionError as error:
                self._wait(f"the right to write to the volume: {error}. Set securityContext.fsGroup in the template")
            except OSError as error:
                self._wait(f"the volume: {error}")
            await self._clock.sleep(_VOLUME_PAUSE_S)

    def _update(self, **changes: object) -> None:
        self._state = msgspec.structs.replace(self._state, **changes)

    def _wait(self, for_what: str) -> None:
        self._update(waiting_for=for_what)

    def _add_damage(self, *found: Damage) -> None:
        new = tuple(damage for damage in found if damage not in self._state.damages)
        self._update(damages=(self._state.damages + new)[-_REPORTED:])

    def _on_store(self, state: StoreState) -> None:
        self._update(store=state)

    def _expect(self, size: int) -> None:
        self._update(pending_bytes=size)

    def _receive(self, size: int) -> None:
        self._update(pending_bytes=max(0, self._state.pending_bytes - size))
