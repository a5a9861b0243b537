"""The sidecar's engine: it keeps what the trainer wrote, by committing it to the bucket.

`look` finds and holds complete steps; `work` sends one of them, commits what can be committed and deletes what is no
longer needed; `tick` does both. `flush` sends all that is complete, the newest first. `finish` does so at the end of
the pod and says how far it came; `tidy` then deletes what its commits made needless. Whatever is interrupted anywhere
is found again by the next pass, or by the next life of the sidecar.
"""

from __future__ import annotations

import asyncio
import contextlib
import logging
from pathlib import Path
from typing import Final

from holdfast.api.wire import Outcome, Phase, SidecarConfig, StoreState
from holdfast.checkpoint import runs
from holdfast.checkpoint.backlog import Backlog
from holdfast.checkpoint.commit import Fenced
from holdfast.checkpoint.detect import Found
from holdfast.checkpoint.detect.marker import safe_directory
from holdfast.checkpoint.errors import NotRestored, TornRead, Unsupported, Vanished
from holdfast.checkpoint.gang import takes_part
from holdfast.checkpoint.journal import Journal
from holdfast.checkpoint.manifests import ManifestError
from holdfast.checkpoint.pin import Pin, pin, recover
from holdfast.checkpoint.problems import Problems
from holdfast.checkpoint.run_commits import RunCommits
from holdfast.checkpoint.state import EngineState
from holdfast.checkpoint.store.retrying import SHORT, PatientStore, Retrier, trouble
from holdfast.checkpoint.upload import Postponed, Uploader
from holdfast.checkpoint.volume import RunState, Volume
from holdfast.checkpoint.watch import Watch
from holdfast.seams import Clock, ObjectStore, Random, Spawner, StoreError

log = logging.getLogger(__name__)

_FLUSH_PAUSE_S: Final = 2.0


class Keeper:
    """Drives the data path of one slot in one attempt. It knows no signals, sockets or arguments."""

    def __init__(
        self, config: SidecarConfig, store: ObjectStore, clock: Clock, random: Random, spawner: Spawner, volume: Path
    ) -> None:
        self._config = config
        self._clock = clock
        self._random = random
        self._spawner = spawner
        self._volume = Volume(volume, config.slot, config.attempt)
        self._store = PatientStore(store, Retrier(SHORT, clock, random))
        self._watch = Watch(self._volume, config.format, clock, spawner)
        self._backlog = Backlog()
        self._loading = asyncio.Lock()
        self._looking = asyncio.Lock()
        self._working = asyncio.Lock()
        self._run: RunState | None = None
        self._commits: RunCommits | None = None
        self._recovered = False
        self._given_up: set[int] = set()
        # Complete steps that the last look could not hold: nothing is done before they are.
        self._unheld: set[int] = set()
        self._blind = False
        self._look_problem = ""
        self._problems = Problems()
        self._store_state = StoreState()
        self._fenced: Outcome | None = None
        self._newest_seen: int | None = None
        self._sent = 0
        self._phase: Phase = "Starting"
        self._flushes = 0
        self.every_steps = config.every_steps

    @property
    def state(self) -> EngineState:
        """What there is to report now."""
        run, commits = self._run, self._commits
        restored = run.restored if run else None
        waiting = commits.waiting if commits else None
        store = self._store_state
        if store.ready and commits and commits.retention_problem:
            store = StoreState(ready=True, reason="RetentionFailed", message=commits.retention_problem)
        return EngineState(
            phase=self._phase,
            store=store,
            health=self._problems.health(commits.written if commits else set(), self._watch.health),
            run=run.run if run and run.run else None,
            round=run.round if run else None,
            restored_step=restored.step if restored else None,
            last_complete=self._newest_seen,
            part_written=max(commits.written, default=None) if commits else None,
            committed=commits.committed if commits else None,
            commits=((restored,) if restored else ()) + (commits.reports if commits else ()),
            damages=commits.damages if commits else (),
            pending_bytes=max(0, self._backlog.bytes - self._sent),
            waiting_for=f"the other slots' parts of step {waiting}" if waiting is not None else "",
            superseded_by=self._fenced.run if self._fenced else None,
            takes_part=takes_part(self._config),
        )

    async def declare(self, step: int, path: str) -> None:
        """Take the trainer's word that a step is complete. Raises ValueError for a path outside its directory."""
        await self._load()
        committed = self._commits.committed if self._commits else None
        await self._watch.declare(step, safe_directory(path), committed)

    async def tick(self) -> bool:
        """Do one pass and return whether anything changed. Raises `NotRestored`."""
        looked = await self.look()
        return await self.work() or looked

    async def look(self) -> bool:
        """Find complete steps and hold their files; return whether there was a new one. Runs beside an upload."""
        async with self._looking:
            await self._load()
            seen = await self._watch.look()
            self._look_problem = seen.problem
            changed = False
            for found in seen.complete:
                if self._is_news(found):
                    changed = await self._hold(found) or changed
            for surplus in self._backlog.surplus(self.every_steps):
                self._given_up.add(surplus.record.step)
                await self._let_go(surplus)
            self._unheld = {found.step for found in seen.complete if self._is_news(found)}
            self._blind = seen.blind
            self._problems.unreadable = self._look_problem
            if self._commits is None and seen.complete:
                self._see(seen.complete[-1].step)
            return changed

    async def work(self) -> bool:
        """Send one step and commit what can be committed; return whether anything changed.

        What the bucket refuses is in `state.store` afterwards, and is tried again by the next pass.
        """
        async with self._working:
            await self._load()
            commits = self._commits
            if commits is None or self._fenced is not None:
                return False
            try:
                if not self._recovered:
                    await commits.recover()
                    self._recovered = True
                    await self._drop_known(commits)
                changed = await self._send_next(commits)
                changed = await commits.settle(now=self._backlog.hurry) or changed
                await self._drop_known(commits)
                changed = await commits.tidy(lambda: not self._backlog.hurry) or changed
            except Fenced as fenced:
                await self._stop(fenced.newer)
                return True
            except ManifestError as error:
                self._problems.commit = str(error)
                return False
            except StoreError as error:
                self._store_state = trouble(error)
                return False
            except OSError as error:
                self._problems.volume = str(error)
                return False
            self._problems.commit = commits.blocked
            self._problems.volume = ""
            self._store_state = StoreState()
            return changed

    async def flush(self, limit_s: float | None = None, *, through: int | None = None) -> bool:
        """Send all that is complete, the newest first, and return whether it all arrived within `limit_s` seconds.

        `through` is the last step that is waited for: a trainer that goes on may save as fast as uploads go, and what
        its peers hold of an earlier step would wait behind all of that.
        """
        end = self._clock.monotonic() + (self._config.flush_timeout_s if limit_s is None else limit_s)
        self._flushes += 1
        self._backlog.hurry, self._backlog.through = True, through
        self._phase = "Flushing"
        done = False
        try:
            while True:
                changed = await self.tick()
                clean = self._store_state.ready and (self._recovered or self._commits is None)
                late = self._clock.monotonic() >= end
                # What changed may have made room for more; when the time is over only what is left counts.
                idle = not self._awaits(through) and (late or not changed or through is not None)
                done = self._fenced is not None or (clean and idle)
                if done or late:
                    return done
                if not changed:
                    await self._clock.sleep(_FLUSH_PAUSE_S)
        finally:
            self._flushes -= 1
            self._backlog.hurry, self._backlog.through = self._flushes > 0, None
            self._phase = "Flushed" if done else "Watching"

    def _awaits(self, through: int | None) -> bool:
        unheld = any(through is None or step <= through for step in self._unheld)
        return self._blind or unheld or self._backlog.awaited(through)

    async def finish(self, limit_s: float | None = None) -> Outcome:
        """Flush at the end of the pod and return what remains of this sidecar. Never waits for other slots."""
        done = await self.flush(limit_s)
        self._phase = "Finished"
        return self.outcome(
            "" if done else f"not all that was complete could be sent in time: {self._store_state.message}",
            interrupted=not done,
        )

    async def tidy(self) -> None:
        """Delete, for a short while, what the commits of `finish` have made needless. Nobody waits for it."""
        async with self._working:
            if self._commits is None or self._fenced is not None:
                return
            try:
                await self._commits.tidy(lambda: not self._backlog.hurry)
            except Fenced as fenced:
                await self._stop(fenced.newer)

    def outcome(self, message: str, *, interrupted: bool) -> Outcome:
        """Return the termination message as things stand."""
        state = self.state
        final = self._fenced or Outcome(kind="Interrupted" if interrupted else "Finished", message=message)
        return Outcome(
            kind=final.kind,
            message=final.message,
            run=state.run,
            step=state.restored_step,
            last_complete=state.last_complete,
            part_written=state.part_written,
            committed=state.committed,
            seen_attempt=final.seen_attempt,
            seen_uid=final.seen_uid,
            newest=max(state.commits, key=lambda commit: (commit.run, commit.step), default=None),
            damages=state.damages,
        )

    async def _load(self) -> None:
        """Read, once, what restore decided and what an earlier life of this sidecar held."""
        async with self._loading:
            if self._run is None:
                await self._load_once()

    async def _load_once(self) -> None:
        run = await self._spawner.blocking(lambda: self._volume.load_run(self._config.job_uid))
        if run is None or not run.placed:
            raise NotRestored(
                f"no restore step of attempt {self._config.attempt} has ended well on the volume {self._volume.root}: "
                "the init container holdfast-restore must run before the sidecar, on the same volume"
            )
        await self._watch.load(run.directory if run.restored else None)
        if run.run and takes_part(self._config):
            self._commits = RunCommits(self._config, run.run, self._store, self._clock, self._random, self._spawner)
            self._uploader = Uploader(self._config, run.run, self._store, self._spawner, self._count)
            for held in await self._spawner.blocking(lambda: recover(self._volume.pins)):
                self._backlog.add(held)
                self._see(held.record.step)
        self._run = run
        self._phase = "Watching"

    def _is_news(self, found: Found) -> bool:
        step, commits = found.step, self._commits
        if commits is None or self._fenced is not None or step in self._backlog:
            return False
        restored = self._run.restored if self._run else None
        if step in self._given_up or step in self._problems.refused or (restored is not None and restored.step == step):
            return False
        return step not in commits.written and (commits.committed is None or step > commits.committed)

    async def _hold(self, found: Found) -> bool:
        volume = self._volume
        try:
            held = await self._spawner.blocking(lambda: pin(found, volume.data, volume.pins))
        except (Vanished, TornRead):
            # The next look sees what has become of it; in words it has to be declared anew.
            if await self._watch.take_back(found.step, found.directory):
                self._see(found.step)
                self._problems.torn(found.step, for_good=True)
            return False
        except Unsupported as error:
            self._see(found.step)
            self._problems.refused[found.step] = str(error)
            return True
        except OSError as error:
            self._see(found.step)
            self._look_problem = f"step {found.step} cannot be held: {error}"
            return False
        self._backlog.add(held)
        self._see(found.step)
        return True

    async def _send_next(self, commits: RunCommits) -> bool:
        held = self._backlog.next()
        if held is None or self._uploader is None:
            return False
        step = held.record.step
        journal = Journal(self._volume.journal, self._uploader.run, step)
        self._sent = 0
        # Not needed for safety, as the commit reads it too; but a survivor need not fill the bucket.
        await commits.require_newest()
        try:
            commits.add(await self._uploader.upload(held, journal, lambda: self._may_go_on(step)))
        except Postponed:
            return True
        except (TornRead, FileNotFoundError):
            # What is held is not what was complete: the next look holds what is there then. A directory that was
            # declared in words shows nothing of that, so what is in it may be half of a later step.
            declared = await self._watch.take_back(step, held.record.directory)
            self._problems.torn(step, for_good=declared)
        except Unsupported as error:
            self._problems.refused[step] = str(error)
        finally:
            self._sent = 0
        try:
            # A look must not hold the step anew while what was held of it is being removed.
            await self._let_go(held)
        finally:
            self._backlog.take(step)
        return True

    def _may_go_on(self, step: int) -> bool:
        return not self._backlog.hurry or self._backlog.hurried == step

    async def _drop_known(self, commits: RunCommits) -> None:
        """Let go of what needs no upload any more."""
        known = [self._backlog.take(step) for step in sorted(commits.written) if step in self._backlog]
        overtaken = self._backlog.overtaken(commits.committed) if commits.committed is not None else []
        for held in known + overtaken:
            await self._let_go(held)

    async def _let_go(self, held: Pin) -> None:
        journal = Journal(self._volume.journal, self._run.run if self._run else 0, held.record.step)
        try:
            await self._spawner.blocking(held.release)
        except OSError as error:
            # The next life of the sidecar removes what is left.
            log.warning("checkpoint.pin_not_removed", extra={"step": held.record.step, "error": str(error)})
        await self._spawner.blocking(journal.discard)

    async def _stop(self, newer: int) -> None:
        """A newer run exists: write nothing any more, and remember which it is."""
        own = self._run.run if self._run else 0
        gone = f"the objects of run {own} were deleted from the destination while it was going on"
        taken = f"run {newer} has taken over" if newer != own else gone
        self._fenced = Outcome(kind="Superseded", message=taken, run=newer)
        while (held := self._backlog.next()) is not None:
            await self._let_go(self._backlog.take(held.record.step))
        with contextlib.suppress(StoreError, ManifestError):
            seen = await runs.read_run(self._store, newer)
            self._fenced = runs.superseded(newer, seen, self._config.job_uid).outcome

    def _see(self, step: int) -> None:
        self._newest_seen = max(step, self._newest_seen or 0)
        if self._phase == "Flushed":
            self._phase = "Watching"

    def _count(self, size: int) -> None:
        self._sent += size
