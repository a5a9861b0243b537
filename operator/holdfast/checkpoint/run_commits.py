"""What of one run is in the bucket: the parts that this slot wrote, and the commits that anybody made of them."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import Final

from holdfast.api.wire import Commit as CommitReport
from holdfast.api.wire import Damage, SidecarConfig
from holdfast.checkpoint import layout
from holdfast.checkpoint.commit import Committed, Committer, reported
from holdfast.checkpoint.manifests import ManifestError, Part
from holdfast.checkpoint.retain import kept_commits, retain
from holdfast.checkpoint.survey import Memory, step_numbers
from holdfast.checkpoint.verify import check_part, find
from holdfast.seams import Clock, ObjectStore, Random, Spawner, StoreError

_FIRST_PAUSE_S: Final = 1.0
_LONGEST_PAUSE_S: Final = 30.0
# A slot that deletes sends nothing, and every commit needs its part.
_LONGEST_TIDYING_S: Final = 10.0
# How many commits a report carries.
_REPORTED: Final = 10


@dataclass(slots=True)
class _Open:
    """A step whose part this slot wrote and that nobody has committed yet, as far as is known."""

    part: Part
    due: float
    pause_s: float = _FIRST_PAUSE_S
    problem: str = ""


class RunCommits:
    """The steps of one run, from this slot's view. Call `recover` once before anything else."""

    def __init__(
        self, config: SidecarConfig, run: int, store: ObjectStore, clock: Clock, random: Random, spawner: Spawner
    ) -> None:
        self._config = config
        self._run = run
        self._store = store
        self._clock = clock
        self._random = random
        self._spawner = spawner
        self._committer = Committer(config, run, store, clock)
        self._open: dict[int, _Open] = {}
        self.written: set[int] = set()
        self.committed: int | None = None
        self.reports: tuple[CommitReport, ...] = ()
        self.damages: tuple[Damage, ...] = ()
        self.retention_problem = ""
        self._retention_due = False
        self._memory = Memory()

    async def recover(self) -> None:
        """Learn from the bucket what an earlier life of this sidecar, and the other slots, have done."""
        await self._committer.require_newest()
        keep = kept_commits(self._config.keep_last)
        steps = await step_numbers(self._store, self._run)
        found: list[Committed] = []
        waiting: list[Part] = []
        for step in steps:
            if len(found) == min(keep, _REPORTED):
                break
            level = await self._store.list_folder(layout.step_folder(self._run, step))
            if not any(layout.parse_commit(info.name) for info in level.objects):
                if not found and (part := await self._own_part(step)) is not None:
                    waiting.append(part)
            # What was listed may be what retention is deleting: it must not be committed a second time.
            elif (committed := await self._committer.adopt(step)) is not None:
                found.append(committed)
                # A commit holds the parts of all slots.
                self.written.add(step)
        for committed in reversed(found):
            self._record(committed)
        for part in waiting:
            self.add(part)
        if found and len(steps) > keep and (newest := await self._own_part(found[0].commit.step)) is not None:
            # An earlier life may have died before it had deleted what its commits made needless.
            await self._look_after(Committed(found[0].commit, own=True), newest)

    async def _own_part(self, step: int) -> Part | None:
        return await find(self._store, layout.part(self._run, step, self._config.slot), Part)

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

    @property
    def blocked(self) -> str:
        """Why the newest step that cannot be committed as things are cannot, or nothing."""
        return next(
            (self._open[step].problem for step in sorted(self._open, reverse=True) if self._open[step].problem), ""
        )

    async def settle(self, *, now: bool = False) -> bool:
        """Commit what can be committed, the newest first; return whether anything was. `now` ignores back-offs.

        What does not fit in the bucket is in `blocked` afterwards. Raises `Fenced` and the store's errors.
        """
        for step in sorted(self._open, reverse=True):
            entry = self._open[step]
            if not now and self._clock.monotonic() < entry.due:
                continue
            try:
                found = await self._committer.attempt(step)
                entry.problem = ""
            except ManifestError as error:
                # It stays as it is until somebody mends it, and to find that out all parts are read again.
                entry.problem = str(error)
                self._postpone(entry)
                continue
            if found is None:
                self._postpone(entry)
                continue
            self._record(found)
            await self._look_after(found, entry.part)
            return True
        return False

    def _postpone(self, entry: _Open) -> None:
        entry.due = self._clock.monotonic() + self._random.uniform(entry.pause_s / 2, entry.pause_s)
        entry.pause_s = min(_LONGEST_PAUSE_S, 2 * entry.pause_s)

    def _record(self, found: Committed) -> None:
        commit = found.commit
        self.committed = max(self.committed or 0, commit.step)
        known = {report.step: report for report in self.reports} | {commit.step: reported(self._config, commit)}
        self.reports = tuple(known[step] for step in sorted(known)[-_REPORTED:])
        # An older step adds nothing any more.
        self._open = {step: entry for step, entry in self._open.items() if step > commit.step}

    async def _look_after(self, found: Committed, part: Part) -> None:
        """Check this slot's part of a new commit; an own commit that is whole makes older ones needless."""
        problems = await check_part(self._store, part)
        self.damages = (self.damages + problems)[-_REPORTED:]
        self._retention_due = self._retention_due or (found.own and not problems)

    async def tidy(self, go_on: Callable[[], bool]) -> bool:
        """Delete, for a while, what an own commit has made needless; return whether anything went.

        It stops early when `go_on` says no; the next call goes on with it. Raises `Fenced`.
        """
        if not self._retention_due or not go_on():
            return False
        end = self._clock.monotonic() + _LONGEST_TIDYING_S
        keep = self._config.keep_last

        def may_go_on() -> bool:
            return go_on() and self._clock.monotonic() < end

        try:
            deleted = await retain(
                self._store, self._spawner, self._memory, self._run, keep, self.require_newest, may_go_on
            )
        except (StoreError, ManifestError) as error:
            # The next commit tries again; nothing was lost.
            self.retention_problem = str(error)
            self._retention_due = False
            return False
        self.retention_problem = ""
        self._retention_due = not deleted.finished
        gone = {ref.step for ref in deleted.commits if ref.run == self._run}
        self.reports = tuple(report for report in self.reports if report.step not in gone)
        return bool(gone) or not deleted.finished
