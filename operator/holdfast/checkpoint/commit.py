"""THE commit: one object that makes a step of a run count.

Whoever sees all part manifests writes it, with generation 0, so it does not matter how many try. The fence is read
before and again after: only a commit of a run that is still the newest is called committed. One that lands later is an
orphan, which nobody goes on from.

One can also land so late that retention has deleted its step, or is about to. Retention touches a step of its own run
only after as many newer ones are committed as are kept, so whoever finds that many newer commits after this one does
not take it for a commit: its writer, the next life of its writer, the other slots. That it is deleted then is mere
tidiness, which retention would see to as well: nobody depends on it, so it does not matter who dies where. A later run
judges by what is there (`chain.py`).
"""

from __future__ import annotations

import contextlib
from dataclasses import dataclass

from holdfast.api.wire import Commit as CommitReport
from holdfast.api.wire import SidecarConfig
from holdfast.checkpoint import layout
from holdfast.checkpoint.manifests import Commit, CommitPart, ManifestError, Part, decode, encode
from holdfast.checkpoint.retain import kept_commits
from holdfast.checkpoint.runs import newer_run
from holdfast.checkpoint.store.create import create_once
from holdfast.checkpoint.survey import step_numbers
from holdfast.seams import Clock, ObjectInfo, ObjectMissing, ObjectStore, StoreError


class Fenced(Exception):
    """A newer run exists: this one may not commit any more. `newer` is its number."""

    def __init__(self, newer: int) -> None:
        super().__init__(f"run {newer} has taken over")
        self.newer = newer


@dataclass(frozen=True, slots=True)
class Committed:
    """A step that is committed. `own` says that this call wrote the manifest."""

    commit: Commit
    own: bool


@dataclass(slots=True)
class Committer:
    """Commits steps of one run."""

    config: SidecarConfig
    run: int
    store: ObjectStore
    clock: Clock

    async def attempt(self, step: int) -> Committed | None:
        """Commit the step, or find it committed; None while parts are missing.

        Raises `Fenced` where a newer run exists, before or after, `ManifestError` where what is in the bucket does not
        fit, and the store's errors.
        """
        name = layout.commit(self.run, step)
        if await self.store.list(name):
            return await self.adopt(step)
        parts = await self._parts(step)
        if parts is None:
            return None
        await self.require_newest()
        wanted = Commit(
            run=self.run,
            step=step,
            attempt=self.config.attempt,
            job_uid=self.config.job_uid,
            committed_at=self.clock.now().isoformat(timespec="milliseconds").replace("+00:00", "Z"),
            parts=parts,
        )
        created = await create_once(self.store, name, encode(wanted))
        commit = decode(name, created.data, Commit)
        if commit.parts != parts:
            raise ManifestError(name, "it names other parts than the ones that are in the bucket")
        # Equal bytes hold our own time of commit: an answer that was lost, so the commit is ours after all.
        return await self._judged(commit, created.info, own=created.data == encode(wanted))

    async def adopt(self, step: int) -> Committed | None:
        """Return the step's commit, or None where there is none that counts. Never makes one. Raises as `attempt`."""
        name = layout.commit(self.run, step)
        try:
            data, info = await self.store.get(name)
        except ObjectMissing:
            # Retention was faster: a step that is deleted again is not committed.
            return None
        return await self._judged(decode(name, data, Commit), info, own=False)

    async def require_newest(self) -> None:
        """Read the fence. Raises `Fenced`."""
        newer = await newer_run(self.store, self.run)
        if newer is not None:
            raise Fenced(newer)

    async def _parts(self, step: int) -> tuple[CommitPart, ...] | None:
        """Return the entries for all parts, sorted by slot, or None while some are missing."""
        listed = [info for info in await self.store.list(layout.parts_folder(self.run, step)) if _slot(info)]
        if len(listed) < self.config.parts:
            return None
        if len(listed) > self.config.parts:
            problem = f"{self.config.parts} parts belong here, not {', '.join(_slot(info) for info in listed)}"
            raise ManifestError(layout.parts_folder(self.run, step), problem)
        return tuple([await self._entry(step, info) for info in listed])

    async def _judged(self, commit: Commit, info: ObjectInfo, *, own: bool) -> Committed | None:
        """Judge a commit that is in the bucket: None where it is needless, or came when it was. Raises `Fenced`."""
        await self.require_newest()
        if not await self._overtaken(commit.step):
            return Committed(commit, own=own)
        with contextlib.suppress(StoreError):
            await self.store.delete(info.name, generation=info.generation)
        return None

    async def _overtaken(self, step: int) -> bool:
        """Say whether as many newer steps of this run are committed as are kept."""
        keep = kept_commits(self.config.keep_last)
        before: list[int] | None = None
        while True:
            newer = [number for number in await step_numbers(self.store, self.run) if number > step]
            if len(newer) < keep or newer == before:
                return False
            committed = 0
            for number in newer:
                committed += bool(await self.store.list(layout.commit(self.run, number)))
                if committed == keep:
                    return True
            # What was committed when the list was made may have been deleted since, for still newer ones.
            before = newer

    async def _entry(self, step: int, info: ObjectInfo) -> CommitPart:
        data, read = await self.store.get(info.name, generation=info.generation)
        part = decode(info.name, data, Part)
        if (part.run, part.step, part.slot) != (self.run, step, _slot(info)):
            raise ManifestError(info.name, f"it is about run {part.run}, step {part.step}, slot {part.slot}")
        checksum = info.crc32c if info.crc32c is not None else read.crc32c
        if checksum is None:
            raise ManifestError(info.name, "the bucket does not tell its crc32c")
        return CommitPart(
            slot=part.slot, object=info.name, generation=info.generation, crc32c=checksum, bytes=part.bytes
        )


def reported(config: SidecarConfig, commit: Commit) -> CommitReport:
    """Return a commit as it is reported."""
    return CommitReport(
        run=commit.run,
        step=commit.step,
        committed_at=commit.committed_at,
        bytes=commit.bytes,
        parts=len(commit.parts),
        object=f"{config.destination.rstrip('/')}/{layout.commit(commit.run, commit.step)}",
    )


def _slot(info: ObjectInfo) -> str:
    return layout.parse_part(info.name) or ""
