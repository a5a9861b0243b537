"""Random lives of a job: faults at every call, sidecars and restores that die, survivors of older attempts that go on.

What must hold whatever happens: a step that a sidecar called committed is what the next attempt starts from, or a newer
one is; what is restored is what was saved, byte for byte, on every slot; each commit is written once.
"""

from __future__ import annotations

import asyncio
from collections import Counter
from pathlib import Path

import pytest

from holdfast.checkpoint.keeper import Keeper
from holdfast.checkpoint.state import EngineState
from tests.support.bucket import RandomFaults
from tests.support.gang import Gang, tree

ATTEMPTS = 6
SLOTS = 3


class Lives:
    """One job through many attempts."""

    def __init__(self, root: Path, seed: int) -> None:
        self.gang = Gang(root, parts=SLOTS, seed=seed)
        self.chance = self.gang.random
        self.faults = RandomFaults(self.chance, self.gang.clock, lost_request=0.06, lost_answer=0.06, delay_s=0.5)
        self.gang.faults = dict.fromkeys(self.gang.slots, self.faults)
        self.saved: dict[tuple[int, int, str], dict[str, object]] = {}
        self.survivors: list[asyncio.Task[None]] = []
        self.claims: list[int] = []
        self.step = 0

    def often(self, probability: float) -> bool:
        return self.chance.uniform(0, 1) < probability

    async def attempt(self, number: int) -> None:
        gang = self.gang
        gang.begin(number, keep_last=2, fresh_volumes=self.often(0.5))
        outcomes = await gang.together({slot: self.restore_until_done(slot) for slot in gang.slots}, 20_000)
        steps = set(outcomes.values())
        assert len(steps) == 1, outcomes
        restored = steps.pop()
        newest_claim = max(self.claims, default=None)
        assert newest_claim is None or (restored is not None and restored >= newest_claim), (restored, self.claims)
        for slot in gang.slots:
            assert [path.name for path in gang.data(slot).iterdir()] == ([str(restored)] if restored else [])
            if restored is not None:
                versions = [kept for (_, step, owner), kept in self.saved.items() if (step, owner) == (restored, slot)]
                assert tree(gang.data(slot) / str(restored)) in versions
        # A run that goes on from step N writes the steps after N again, with another content.
        self.step = restored or 0
        self.claims = [claim for claim in self.claims if claim <= self.step]
        await self.train(number)

    async def restore_until_done(self, slot: str) -> int | None:
        """Restore, dying now and then and being started again in the same pod."""
        while True:
            work = asyncio.ensure_future(self.gang.restore_step(slot).run())
            try:
                if self.often(0.4):
                    await self.gang.clock.sleep(self.chance.uniform(0, 20))
                    if not work.done():
                        continue
                outcome = await work
            finally:
                work.cancel()
                await asyncio.gather(work, return_exceptions=True)
            assert outcome.kind == "Restored", outcome
            return outcome.step

    async def train(self, number: int) -> None:
        gang = self.gang
        keepers: dict[str, Keeper] = {slot: gang.keeper(slot) for slot in gang.slots}
        stop = asyncio.Event()
        tasks = {slot: asyncio.ensure_future(self.keep(slot, keepers, number, stop)) for slot in gang.slots}
        for _ in range(int(self.chance.uniform(1, 5))):
            self.step += 100
            # Now and then a host dies before it has written its own part of a step.
            writers = gang.slots if self.often(0.85) else gang.slots[:1]
            gang.save(self.step, *writers, size=90_000, seed=str(number))
            for slot in writers:
                self.saved[number, self.step, slot] = tree(gang.data(slot) / str(self.step))
            await gang.run(gang.clock.sleep(self.chance.uniform(0, 40)))
        stop.set()
        for slot, task in tasks.items():
            if self.often(0.3):
                self.survivors.append(task)
            else:
                task.cancel()
                await asyncio.gather(task, return_exceptions=True)
                self.note(keepers[slot].state)

    async def keep(self, slot: str, keepers: dict[str, Keeper], number: int, stop: asyncio.Event) -> None:
        """A sidecar that dies now and then; after `stop` it is a survivor of an attempt that is over."""
        config, volume, store = self.gang.configs[slot], self.gang.volumes[slot], self.gang.stores[slot]
        while True:
            await keepers[slot].tick()
            if not stop.is_set():
                self.note(keepers[slot].state)
                if self.often(0.1):
                    gang = self.gang
                    keepers[slot] = Keeper(config, store, gang.clock, gang.random, gang.spawner, volume)
            await self.gang.clock.sleep(1)

    def note(self, state: EngineState) -> None:
        if state.committed is not None:
            self.claims.append(state.committed)


@pytest.mark.parametrize("seed", range(10))
async def test_what_was_called_committed_is_never_lost(tmp_path: Path, seed: int) -> None:
    lives = Lives(tmp_path, seed)
    for number in range(1, ATTEMPTS + 1):
        await lives.attempt(number)
    for task in lives.survivors:
        task.cancel()
    await asyncio.gather(*lives.survivors, return_exceptions=True)
    bucket = lives.gang.bucket
    created = Counter(name for verb, name in bucket.history if verb == "put" and name.endswith("commit.json"))
    assert created
    assert set(created.values()) == {1}
