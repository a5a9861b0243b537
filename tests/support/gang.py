"""Whole gangs of restore steps and keepers on real directories and one bucket in memory, in virtual time."""

from __future__ import annotations

import asyncio
import itertools
import random
from collections.abc import Awaitable, Callable, Coroutine
from pathlib import Path
from typing import Any, TypeVar

from holdfast.api.wire import Outcome, RestoreOrder, SidecarConfig
from holdfast.checkpoint.keeper import Keeper
from holdfast.checkpoint.restore import RestoreStep
from tests.support.bucket import Bucket, Faults, MemoryStore
from tests.support.clock import SeededRandom, SeededSpawner, VirtualClock, run_until

T = TypeVar("T")

CREATED = "2030-01-01T00:00:00Z"


def config(slot: str = "0-0", attempt: int = 1, parts: int = 1, **fields: Any) -> SidecarConfig:
    """Return a job's configuration; `fields` replace what a test is about."""
    plain: dict[str, Any] = {
        "namespace": "team",
        "job": "digits",
        "job_uid": "uid-1",
        "job_created": CREATED,
        "destination": "gs://test/digits",
        "keep_last": 3,
        "flush_timeout_s": 120.0,
    }
    return SidecarConfig(slot=slot, attempt=attempt, parts=parts, **(plain | fields))


def order(policy: Any, step: int | None = None, digest: str = "") -> RestoreOrder:
    return RestoreOrder(policy=policy, step=step, digest=digest or f"{policy}-{step}")


class Gang:
    """The pods of one attempt after another: `parts` slots, each with a volume of its own.

    With `fields["layout"] = "Shared"` there is one volume for all of them, and one part a commit.
    """

    def __init__(self, root: Path, parts: int = 2, *, seed: int = 1, bucket: Bucket | None = None) -> None:
        self.root = root
        self.parts = parts
        self.bucket = bucket or Bucket()
        self.clock = VirtualClock()
        self.random = SeededRandom(seed)
        self.spawner = SeededSpawner(seed)
        self.fields: dict[str, Any] = {}
        self._volumes = itertools.count(1)
        self.volumes: dict[str, Path] = {}
        self.keepers: dict[str, Keeper] = {}
        self.configs: dict[str, SidecarConfig] = {}
        self.faults: dict[str, Faults] = {}
        self.stores: dict[str, MemoryStore] = {}

    @property
    def slots(self) -> list[str]:
        return [f"0-{host}" for host in range(self.parts)]

    def begin(self, attempt: int, *, fresh_volumes: bool = True, **fields: Any) -> None:
        """Make the pods of an attempt: configurations, and volumes that are empty unless they follow the slot."""
        wanted = self.fields | fields
        shared = wanted.get("layout") == "Shared"
        for slot in self.slots:
            self.configs[slot] = config(slot, attempt, 1 if shared else self.parts, **wanted)
            if shared and slot != self.slots[0]:
                self.volumes[slot] = self.volumes[self.slots[0]]
            elif fresh_volumes or slot not in self.volumes:
                self.volumes[slot] = self.root / f"volume-{next(self._volumes)}"
                self.volumes[slot].mkdir(parents=True)
        self.keepers.clear()

    def store(self, slot: str) -> MemoryStore:
        self.stores[slot] = MemoryStore(self.bucket, self.faults.get(slot))
        return self.stores[slot]

    def restore_step(self, slot: str) -> RestoreStep:
        return RestoreStep(
            self.configs[slot], self.store(slot), self.clock, self.random, self.spawner, self.volumes[slot]
        )

    def keeper(self, slot: str) -> Keeper:
        """Start a sidecar: a new life on the slot's volume."""
        self.keepers[slot] = Keeper(
            self.configs[slot], self.store(slot), self.clock, self.random, self.spawner, self.volumes[slot]
        )
        return self.keepers[slot]

    async def restore(self, limit_s: float = 3600) -> dict[str, Outcome]:
        """Run the restore step of all slots together."""
        outcomes = await self.together({slot: self.restore_step(slot).run() for slot in self.slots}, limit_s)
        for slot in self.slots:
            self.keeper(slot)
        return outcomes

    async def settle(self, limit_s: float = 3600) -> None:
        """Tick all sidecars until none of them has anything left to do."""
        quiet = 0
        end = self.clock.elapsed + limit_s
        while quiet < 3:
            changed = await self.together({slot: self.keepers[slot].tick() for slot in self.slots}, limit_s)
            waiting = any(k.state.waiting_for or k.state.pending_bytes for k in self.keepers.values())
            quiet = quiet + 1 if not any(changed.values()) and not waiting else 0
            await self.run(self.clock.sleep(1.0))
            assert self.clock.elapsed < end, {slot: keeper.state for slot, keeper in self.keepers.items()}

    async def together(self, work: dict[str, Coroutine[Any, Any, T]], limit_s: float = 3600) -> dict[str, T]:
        tasks = {key: asyncio.ensure_future(coroutine) for key, coroutine in work.items()}
        try:
            await run_until(self.clock, lambda: all(task.done() for task in tasks.values()), limit_s=limit_s)
        finally:
            for task in tasks.values():
                task.cancel()
            await asyncio.gather(*tasks.values(), return_exceptions=True)
        return {key: task.result() for key, task in tasks.items()}

    async def run(self, work: Coroutine[Any, Any, T], limit_s: float = 3600) -> T:
        return (await self.together({"": work}, limit_s))[""]

    def data(self, slot: str) -> Path:
        """Where the slot's trainer writes."""
        return self.volumes[slot] / "data" / str(self.configs[slot].attempt)

    def save(self, step: int, *slots: str, size: int = 3000, seed: str = "") -> None:
        """Let the trainers write a step, each its own content."""
        for slot in slots or self.slots:
            write_step(self.data(slot), step, f"{slot}/{step}/{seed}", size=size)

    def commits(self) -> list[str]:
        return self.bucket.names("runs/", "commit.json")


def write_step(data: Path, step: int, seed: str, *, size: int = 3000) -> Path:
    """Write a step as Orbax does: under a temporary name, then renamed. The content follows from `seed`."""
    source = random.Random(seed)
    temporary = data / f"{step}.orbax-checkpoint-tmp"
    (temporary / "state" / "d").mkdir(parents=True)
    (temporary / "empty").mkdir()
    (temporary / "state" / "d" / "array").write_bytes(source.randbytes(size))
    (temporary / "state" / "_METADATA").write_bytes(source.randbytes(40))
    (temporary / "link").symlink_to("state/_METADATA")
    (temporary / "zero").write_bytes(b"")
    (temporary / "commit_success.txt").write_text("ok")
    return temporary.rename(data / str(step))


def tree(directory: Path) -> dict[str, object]:
    """Return everything that a restored directory must have in common with the saved one."""
    found: dict[str, object] = {}
    for path in sorted(directory.rglob("*")):
        name = path.relative_to(directory).as_posix()
        mode = path.lstat().st_mode
        if path.is_symlink():
            found[name] = path.readlink()
        elif path.is_dir():
            found[name] = mode
        else:
            found[name] = (mode, path.stat().st_mtime_ns, path.read_bytes())
    return found


async def repeatedly(attempt: Callable[[], Awaitable[T]]) -> T:
    """Call until it is no longer cancelled from inside: a process that is started again each time it dies."""
    while True:
        try:
            return await attempt()
        except asyncio.CancelledError:
            continue
