"""What a bucket with a long history costs: the requests, and the entries that they bring, not the seconds.

A server answers a list with up to 1,000 entries at a time, so a list of everything takes as many requests as there are
thousands of files.
"""

from __future__ import annotations

import builtins

from holdfast.api.wire import RestoreOrder
from holdfast.checkpoint import layout, rounds, runs
from holdfast.checkpoint.gang import FIRST_SLOT
from holdfast.checkpoint.hashing import crc32c
from holdfast.checkpoint.manifests import OK, CommitRef, Plan, Run, encode
from holdfast.checkpoint.retain import retain
from holdfast.checkpoint.survey import Memory
from holdfast.seams import Folder, ObjectInfo
from tests.support.bucket import Bucket, MemoryStore, Stored
from tests.support.clock import SeededSpawner
from tests.support.gang import CREATED, config, order

PAGE = 1_000
STEPS = 300
FILES = 50


class CountingStore(MemoryStore):
    """Counts the requests and their entries."""

    requests = 0
    entries = 0

    def take(self) -> tuple[int, int]:
        """Return both counts and begin anew."""
        counts = (self.requests, self.entries)
        self.requests = self.entries = 0
        return counts

    def _count(self, entries: int) -> None:
        self.requests += max(1, -(-entries // PAGE))
        self.entries += entries

    async def get(self, name: str, *, generation: int | None = None) -> tuple[bytes, ObjectInfo]:
        self._count(1)
        return await super().get(name, generation=generation)

    async def list(self, prefix: str) -> builtins.list[ObjectInfo]:
        found = await super().list(prefix)
        self._count(len(found))
        return found

    async def list_folder(self, folder: str) -> Folder:
        found = await super().list_folder(folder)
        self._count(len(found.objects) + len(found.folders))
        return found


def history(steps: int = STEPS, files: int = FILES) -> Bucket:
    """Run 1 committed many steps of many files each; run 2 has begun and proposed nothing yet."""
    bucket = Bucket()

    def put(name: str, data: bytes = b"{}") -> None:
        # Not by `Bucket.write`, which compares each name with all others.
        bucket.objects[name] = Stored(data, 1, crc32c(data))

    for run in (1, 2):
        document = Run(
            namespace="team", job="digits", job_uid="uid-1", job_created=CREATED, attempt=run, layout="PerHost", parts=1
        )
        put(layout.run_manifest(run), encode(document))
    put(layout.plan(1, 1), encode(Plan(kind="Fresh")))
    put(layout.verdict(1, 1, FIRST_SLOT), OK)
    for step in range(1, steps + 1):
        for number in range(files):
            put(layout.data_object(1, step, FIRST_SLOT, f"{number}"))
        put(layout.part(1, step, FIRST_SLOT))
        put(layout.commit(1, step))
    return bucket


async def proposal(store: CountingStore, restore: RestoreOrder) -> Plan:
    await runs.enter(store, config(attempt=2))
    return await rounds.propose(store, config(attempt=2, restore=restore), 2, 1, None)


async def everything(bucket: Bucket) -> tuple[int, int]:
    """What one list of all that is below `runs/` takes."""
    store = CountingStore(bucket)
    await store.list(layout.RUNS)
    return store.take()


async def test_a_restore_asks_for_what_it_needs_of_a_long_history() -> None:
    bucket = history()
    assert await everything(bucket) == (16, STEPS * (FILES + 2) + 4)
    for restore, step in ((RestoreOrder(), STEPS), (order("Step", 7), 7)):
        store = CountingStore(bucket)
        assert (await proposal(store, restore)).commit == CommitRef(run=1, step=step)
        requests, entries = store.take()
        assert requests <= 10
        assert entries <= STEPS + 20
        bucket.remove(layout.plan(2, 1))


async def test_the_files_of_a_step_cost_a_restore_nothing() -> None:
    few, many = CountingStore(history(20, 1)), CountingStore(history(20, 500))
    for store in (few, many):
        await proposal(store, RestoreOrder())
    assert few.take() == many.take()


async def test_retention_looks_at_each_step_once() -> None:
    bucket, memory = history(), Memory()
    store = CountingStore(bucket)

    async def pass_of_retention() -> tuple[int, int]:
        async def fence() -> None:
            """Nobody took over."""

        done = await retain(store, SeededSpawner(1), memory, 1, STEPS, fence, lambda: True)
        assert done.finished
        return store.take()

    bucket.remove(layout.run_manifest(2))
    first, _ = await pass_of_retention()
    assert first <= STEPS + 10
    again, entries = await pass_of_retention()
    assert again <= 5
    assert entries <= STEPS + 10
    # One more commit: the oldest goes, and only its own objects are listed.
    for name in (layout.part(1, STEPS + 1, FIRST_SLOT), layout.commit(1, STEPS + 1)):
        bucket.objects[name] = Stored(b"{}", 1, 0)
    requests, entries = await pass_of_retention()
    assert bucket.names(layout.step_folder(1, 1)) == []
    assert bucket.names(layout.step_folder(1, 2))
    assert requests <= 8
    assert entries <= STEPS + FILES + 10
