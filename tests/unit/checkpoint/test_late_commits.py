"""A commit that lands late: after its step was deleted, or after another run took over; and death around it."""

from __future__ import annotations

import asyncio
from pathlib import Path
from typing import Any

import pytest

from holdfast.checkpoint import layout
from holdfast.seams import StoreUnavailable
from tests.support.bucket import Hook
from tests.support.gang import Gang, order

LATE = layout.commit(1, 100)


def kept(gang: Gang) -> list[tuple[int, int] | None]:
    return [layout.parse_commit(name) for name in gang.commits()]


class Stalled:
    """Slot 0-1 stands still between its last look and its commit of step 100, until `go_on`.

    From there on its calls are counted, and those from the number `dies_at` on fail, before or after they took effect:
    by the death of its process, or with `error`. `reported` is all that it would have reported meanwhile.
    """

    def __init__(
        self,
        gang: Gang,
        dies_at: int | None = None,
        *,
        after_effect: bool = False,
        error: type[BaseException] = asyncio.CancelledError,
    ) -> None:
        self.gang = gang
        self.calls = 0
        self.reported: set[int] = set()
        self._keeper = gang.keepers["0-1"]
        self._dies_at = dies_at
        self._error = error
        self._after_effect = after_effect
        self._reached = asyncio.Event()
        self._go_on = asyncio.Event()
        gang.stores["0-1"].faults = Hook(on_before=self._before, on_after=self._after)

    async def reach(self) -> None:
        self.task = self.gang.spawner.spawn(self._keeper.tick(), name="stalled")
        await self._reached.wait()

    async def go_on(self) -> bool:
        """Let it go on to its end; return whether it died."""
        self._go_on.set()
        (died,) = await asyncio.gather(self.task, return_exceptions=True)
        if died is not None and not isinstance(died, (bool, asyncio.CancelledError)):
            raise died
        return isinstance(died, asyncio.CancelledError)

    async def _before(self, verb: str, name: str) -> None:
        if (verb, name) == ("put", LATE) and not self._reached.is_set():
            self._reached.set()
            await self._go_on.wait()
        self.reported |= {commit.step for commit in self._keeper.state.commits}
        if self._go_on.is_set():
            self.calls += 1
            self._die(after_effect=False)

    async def _after(self, verb: str, name: str) -> None:
        if self._go_on.is_set():
            self._die(after_effect=True)

    def _die(self, *, after_effect: bool) -> None:
        if self._dies_at is not None and self.calls >= self._dies_at and after_effect == self._after_effect:
            raise self._error


async def overtaken(root: Path, dies_at: int | None = None, *, after_effect: bool = False) -> tuple[Gang, int]:
    """Slot 0-1 is three steps ahead and stalls at the commit of 100; then the other slot commits 200 and 300 and
    deletes 100, and slot 0-1 goes on, to its end or to its death. Returns how many calls it made."""
    gang, stalled = await stalled_ahead(root, dies_at, after_effect=after_effect)
    for step in (200, 300):
        gang.save(step, "0-0")
        await gang.run(gang.keepers["0-0"].tick())
    assert kept(gang) == [(1, 200), (1, 300)]
    assert gang.bucket.names(layout.step_folder(1, 100)) == []
    died = await gang.run(stalled.go_on())
    assert died == (dies_at is not None)
    assert 100 not in stalled.reported
    return gang, stalled.calls


async def stalled_ahead(
    root: Path, dies_at: int | None = None, keep_last: int = 2, **fields: Any
) -> tuple[Gang, Stalled]:
    gang = Gang(root, parts=2)
    gang.begin(1, keep_last=keep_last)
    await gang.restore()
    for step in (100, 200, 300):
        gang.save(step, "0-1")
        await gang.run(gang.keepers["0-1"].tick())
    await gang.run(gang.clock.sleep(60))
    stalled = Stalled(gang, dies_at, **fields)

    async def both_see_all_parts(verb: str, name: str) -> None:
        if (verb, name) == ("put", LATE):
            gang.stores["0-0"].faults = Hook()
            await stalled.reach()

    gang.stores["0-0"].faults = Hook(on_before=both_see_all_parts)
    gang.save(100, "0-0")
    await gang.run(gang.keepers["0-0"].tick())
    return gang, stalled


@pytest.mark.parametrize("after_effect", [False, True])
async def test_a_sidecar_that_dies_around_its_late_commit_never_reports_it(tmp_path: Path, after_effect: bool) -> None:
    _, calls = await overtaken(tmp_path / "undisturbed")
    assert calls >= 4
    for call in range(1, calls + 1):
        gang, _ = await overtaken(tmp_path / f"{call}", call, after_effect=after_effect)
        keeper = gang.keeper("0-1")
        await gang.settle()
        assert [commit.step for commit in keeper.state.commits][-1] == 300, call
        assert 100 not in [commit.step for commit in keeper.state.commits], call
        assert (keeper.state.committed, keeper.state.damages) == (300, ()), call
        assert kept(gang) == [(1, 200), (1, 300)], call
        assert gang.bucket.names(layout.step_folder(1, 100)) == [], call


@pytest.mark.parametrize("after_effect", [False, True])
async def test_when_the_whole_gang_dies_there_the_next_one_never_takes_it_for_a_commit(
    tmp_path: Path, after_effect: bool
) -> None:
    _, calls = await overtaken(tmp_path / "undisturbed")
    for call in range(1, calls + 1):
        gang, _ = await overtaken(tmp_path / f"{call}", call, after_effect=after_effect)
        gang.begin(2, keep_last=2, restore=order("Step", 100))
        ends = (await gang.restore()).values()
        assert {end.kind for end in ends} == {"RestoreRefused"}, call
        assert all("step 100 is not committed" in end.message and not end.damages for end in ends), call
        gang.begin(3, keep_last=2)
        assert {end.step for end in (await gang.restore()).values()} == {300}, call
        for step in (400, 500):
            gang.save(step)
            await gang.settle()
        # What is left of it goes once it is older than all that is kept.
        assert kept(gang) == [(1, 300), (3, 400), (3, 500)], call
        assert gang.bucket.names(layout.step_folder(1, 100)) == [], call


@pytest.mark.parametrize("gone", [LATE, layout.part(1, 100, "0-0"), layout.part(1, 100, "0-1")])
async def test_a_commit_that_lands_while_its_step_is_being_deleted_is_not_one(tmp_path: Path, gone: str) -> None:
    gang, stalled = await stalled_ahead(tmp_path)
    gang.save(200, "0-0")
    await gang.run(gang.keepers["0-0"].tick())
    deleting, arrived = asyncio.Event(), asyncio.Event()

    async def pause(verb: str, name: str) -> None:
        if (verb, name) == ("delete", gone):
            deleting.set()
            await arrived.wait()

    gang.stores["0-0"].faults = Hook(on_after=pause)
    gang.save(300, "0-0")
    other = gang.spawner.spawn(gang.keepers["0-0"].tick(), name="other")
    await gang.run(_wait(deleting))
    await gang.run(stalled.go_on())
    assert 100 not in stalled.reported
    arrived.set()
    await gang.run(asyncio.wait_for(other, 60))
    await gang.settle()
    assert kept(gang) == [(1, 200), (1, 300)]
    assert [commit.step for commit in gang.keepers["0-1"].state.commits] == [300]


async def test_while_fewer_are_committed_than_are_kept_a_late_commit_is_one(tmp_path: Path) -> None:
    gang, stalled = await stalled_ahead(tmp_path, keep_last=3)
    gang.bucket.remove(LATE)
    for step in (200, 300):
        gang.save(step, "0-0")
        await gang.run(gang.keepers["0-0"].tick())
    assert kept(gang) == [(1, 200), (1, 300)]
    await gang.run(stalled.go_on())
    await gang.settle()
    assert kept(gang) == [(1, 100), (1, 200), (1, 300)]
    gang.begin(2, keep_last=3, restore=order("Step", 100))
    assert {end.step for end in (await gang.restore()).values()} == {100}


@pytest.mark.parametrize("call", [1, 2, 3, 4])
async def test_a_bucket_that_fails_after_the_late_commit_changes_nothing(tmp_path: Path, call: int) -> None:
    """Without a death: the looks after the commit fail, and a later pass finds it as if others had made it."""
    gang, stalled = await stalled_ahead(tmp_path, call, after_effect=True, error=StoreUnavailable)
    for step in (200, 300):
        gang.save(step, "0-0")
        await gang.run(gang.keepers["0-0"].tick())
    await gang.run(stalled.go_on())
    assert not gang.keepers["0-1"].state.store.ready
    gang.stores["0-1"].faults = Hook()
    await gang.settle()
    assert 100 not in stalled.reported | {commit.step for commit in gang.keepers["0-1"].state.commits}
    assert gang.keepers["0-1"].state.committed == 300
    gang.save(400)
    await gang.settle()
    # If nobody else deleted it, the next retention has.
    assert kept(gang) == [(1, 300), (1, 400)]
    assert gang.bucket.names(layout.step_folder(1, 100)) == []


async def _wait(event: asyncio.Event) -> None:
    await event.wait()


async def late_in_an_older_run(root: Path) -> Gang:
    """Run 1 commits 200 while 100 waits for its stalled committer; run 2 goes on from 200, commits 300 and removes what
    is left of 100; then the commit of 100 lands."""
    gang, stalled = await stalled_ahead(root)
    gang.bucket.remove(LATE)
    gang.save(200, "0-0")
    await gang.run(gang.keepers["0-0"].tick())
    assert kept(gang) == [(1, 200)]
    survivor = gang.keepers["0-1"]
    gang.begin(2, keep_last=3)
    assert {end.step for end in (await gang.restore()).values()} == {200}
    gang.save(300)
    await gang.settle()
    assert gang.bucket.names(layout.step_folder(1, 100)) == []
    await gang.run(stalled.go_on())
    assert survivor.state.superseded_by == 2
    assert 100 not in [commit.step for commit in survivor.state.commits]
    assert gang.bucket.names(layout.step_folder(1, 100)) == [LATE], "the fence was read too late to keep it out"
    return gang


async def test_a_commit_of_an_older_run_whose_step_is_gone_is_no_commit(tmp_path: Path) -> None:
    gang = await late_in_an_older_run(tmp_path)
    gang.begin(3, keep_last=3, restore=order("Step", 100))
    ends = (await gang.restore()).values()
    assert {(end.kind, end.damages) for end in ends} == {("RestoreRefused", ())}
    assert all("(300, 200)" in end.message for end in ends)
    gang.begin(4, keep_last=3)
    assert {end.step for end in (await gang.restore()).values()} == {300}
    for step in (400, 500):
        gang.save(step)
        await gang.settle()
    # Three that can be restored are kept, and it is not one of them.
    assert kept(gang) == [(2, 300), (4, 400), (4, 500)]


async def test_damage_never_leads_to_it_and_never_to_step_0(tmp_path: Path) -> None:
    gang = await late_in_an_older_run(tmp_path)
    for run, step in ((2, 300), (1, 200)):
        for slot in gang.slots:
            gang.bucket.damage(layout.part(run, step, slot))
    gang.begin(3)
    ends = (await gang.restore()).values()
    assert {end.kind for end in ends} == {"NoRestorableCheckpoint"}
    assert {damage.step for end in ends for damage in end.damages} == {200, 300}


async def test_commits_whose_manifests_were_all_deleted_by_somebody_are_damage(tmp_path: Path) -> None:
    """A rule of the bucket that deletes old objects must not look like a job that never committed."""
    gang = Gang(tmp_path, parts=1)
    gang.begin(1)
    await gang.restore()
    for step in (100, 200):
        gang.save(step)
        await gang.settle()
    for step in (100, 200):
        gang.bucket.remove(layout.part(1, step, "0-0"))
    gang.begin(2)
    (end,) = (await gang.restore()).values()
    assert end.kind == "NoRestorableCheckpoint"
    assert [damage.step for damage in end.damages] == [200]
