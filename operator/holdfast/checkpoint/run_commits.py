"""What of one run is in the bucket: the parts that this slot wrote, and the commits that anybody made of them."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Final

from holdfast.api.wire import Commit as CommitReport
from holdfast.api.wire import Damage, SidecarConfig
from holdfast.checkpoint import layout
from holdfast.checkpoint.commit import Committed, Committer
from holdfast.checkpoint.manifests import Part, decode
from holdfast.checkpoint.retain import retain
from holdfast.checkpoint.verify import check_part
from holdfast.seams import Clock, ObjectStore, Random, StoreError

_FIRST_PAUSE_S: Final = 1.0
_LONGEST_PAUSE_S: Final = 30.0
# How many commits a report carries.
_REPORTED: Final = 10


@dataclass(slots=True)
class _Open:
    """A step whose part this slot wrote and that nobody has committed yet, as far as is known."""

    part: Part
    due: float
    pause_s: float = _FIRST_PAUSE_S


class RunCommits:
    """The steps of one run, from this slot's view. Call `recover` once before anything else."""

    def __init__(self, config: SidecarConfig, run: int, store: ObjectStore, clock: Clock, random: Random) -> None:
        self._config = config
        self._run = run
        self._store = store
        self._clock = clock
        self._random = random
        self._committer = Committer(config, run, store, clock)
        self._open: dict[int, _Open] = {}
        self.written: set[int] = set()
        self.committed: int | None = None
        self.reports: tuple[CommitReport, ...] = ()
        self.damages: tuple[Damage, ...] = ()
        self.retention_problem = ""

    async def recover(self) -> None:
        """Learn from the bucket what an earlier life of this sidecar, and the other slots, have done."""
        await self._committer.require_newest()
        committed: list[int] = []
        for info in await self._store.list(layout.steps_folder(self._run)):
            if (commit := layout.parse_commit(info.name)) is not None:
                committed.append(commit[1])
            elif layout.parse_part(info.name) == self._config.slot and (step := layout.parse_step(info.name)):
                self.written.add(step[1])
        for number in sorted(committed):
            found = await self._committer.attempt(number)
            if found is not None:
                self._record(found)
        for number in sorted(self.written):
            if self.committed is None or number > self.committed:
                name = layout.part(self._run, number, self._config.slot)
                data, _ = await self._store.get(name)
                self.add(decode(name, data, Part))

    def add(self, part: Part) -> None:
        """Take note of a part that this slot has written."""
        self.written.add(part.step)
        if self.committed is None or part.step > self.committed:
            self._open[part.step] = _Open(part, self._clock.monotonic())

    async def require_newest(self) -> None:
        """Read the fence. Raises `Fenced`."""
        await self._committer.require_newest()

    @property
    def waiting(self) -> int | None:
        """The newest step that only lacks other slots' parts."""
        return max(self._open, default=None)

    async def settle(self, *, now: bool = False) -> bool:
        """Commit what can be committed, the newest first; return whether anything was. `now` ignores back-offs.

        Raises `Fenced`, `ManifestError` and the store's errors.
        """
        for step in sorted(self._open, reverse=True):
            entry = self._open[step]
            if not now and self._clock.monotonic() < entry.due:
                continue
            found = await self._committer.attempt(step)
            if found is None:
                entry.due = self._clock.monotonic() + self._random.uniform(entry.pause_s / 2, entry.pause_s)
                entry.pause_s = min(_LONGEST_PAUSE_S, 2 * entry.pause_s)
                continue
            self._record(found)
            await self._look_after(found, entry.part)
            return True
        return False

    def _record(self, found: Committed) -> None:
        commit = found.commit
        self.committed = max(self.committed or 0, commit.step)
        known = {report.step: report for report in self.reports} | {commit.step: self._committer.report(commit)}
        self.reports = tuple(known[step] for step in sorted(known)[-_REPORTED:])
        # An older step adds nothing any more.
        self._open = {step: entry for step, entry in self._open.items() if step > commit.step}

    async def _look_after(self, found: Committed, part: Part) -> None:
        """Check this slot's part of a new commit, and delete what is no longer needed if the commit is our own."""
        problems = await check_part(self._store, part)
        self.damages = (self.damages + problems)[-_REPORTED:]
        if not found.own or problems:
            return
        try:
            deleted = await retain(self._store, self._run, self._config.keep_last, self.require_newest)
        except StoreError as error:
            # The next commit tries again; nothing was lost.
            self.retention_problem = str(error)
        else:
            self.retention_problem = ""
            gone = {ref.step for ref in deleted if ref.run == self._run}
            self.reports = tuple(report for report in self.reports if report.step not in gone)
