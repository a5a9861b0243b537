"""Commands: begun once, acknowledged when they are done."""

from __future__ import annotations

from datetime import timedelta
from pathlib import Path
from typing import Any, get_args

import msgspec
import pytest

from holdfast.api.wire import Command, CommandKind, Damage, Outcome, OutcomeKind
from holdfast.sidecar.commands import Commander
from holdfast.sidecar.running import Ears
from holdfast.sidecar.termination import EXIT_CODES, LIMIT, fitted, leave, tell_step
from holdfast.sidecar.trainer_socket import TrainerSocket
from tests.support.bucket import Hook
from tests.support.clock import run_until
from tests.support.gang import Gang


class Trainers(TrainerSocket):
    """The subscribers' side, without connections: `count` of them hear what is told."""

    def __init__(self, root: Path, gang: Gang, count: int) -> None:
        super().__init__(root / "socket", Ears(gang.keepers["0-0"], gang.clock))
        self.count = count
        self.told: list[dict[str, Any]] = []
        self.withdrawn: list[str] = []

    def tell(self, message: dict[str, Any], *, standing: str = "") -> int:
        self.told.append(message)
        return self.count

    def withdraw(self, standing: str) -> None:
        self.withdrawn.append(standing)


class Bench:
    """One slot's sidecar that works, a commander, and trainers."""

    def __init__(self, root: Path, trainers: int, slot: str = "0-0", **fields: Any) -> None:
        self.gang = Gang(root, parts=1 if slot == "0-0" else 2)
        self.gang.fields = fields
        self.root = root
        self.slot = slot
        self.trainer_count = trainers

    async def start(self) -> None:
        self.gang.begin(1)
        await self.gang.restore()
        self.keeper = self.gang.keepers[self.slot]
        self.trainers = Trainers(self.root, self.gang, self.trainer_count)
        self.commander = Commander(self.keeper, self.trainers, self.gang.clock, self.gang.spawner)
        self.gang.spawner.spawn(self._work(), name="work")

    async def _work(self) -> None:
        while True:
            if not await self.keeper.tick():
                await self.gang.clock.sleep(1)

    def command(self, kind: CommandKind, within_s: float = 60, **fields: Any) -> Command:
        deadline = (self.gang.clock.now() + timedelta(seconds=within_s)).isoformat()
        return Command(id=f"{kind}-1", kind=kind, deadline=deadline, **fields)

    async def acknowledged(self, limit_s: float) -> float:
        return await run_until(self.gang.clock, lambda: bool(self.commander.acknowledged), limit_s=limit_s)


@pytest.fixture
async def bench(tmp_path: Path, request: pytest.FixtureRequest) -> Any:
    made = Bench(tmp_path, getattr(request, "param", 1))
    await made.start()
    yield made
    await made.gang.spawner.stop()


async def test_a_checkpoint_is_asked_for_and_acknowledged_once_it_is_committed(bench: Bench) -> None:
    bench.gang.save(100)
    await bench.gang.clock.advance(5)
    command = bench.command("Checkpoint")
    bench.commander.take([command])
    bench.commander.take([command])
    await bench.gang.clock.advance(10)
    assert bench.commander.acknowledged == ()
    assert bench.trainers.told == [{"type": "checkpoint", "id": "Checkpoint-1", "deadline": command.deadline}]
    bench.gang.save(150)
    assert await bench.acknowledged(5) < 5
    assert bench.keeper.state.committed == 150
    bench.commander.take([command])
    await bench.gang.clock.advance(5)
    assert len(bench.trainers.told) == 1
    assert bench.trainers.withdrawn == ["Checkpoint-1"]


async def test_a_trainer_that_does_not_answer_costs_the_deadline_and_no_more(bench: Bench) -> None:
    bench.commander.take([bench.command("Checkpoint", within_s=30)])
    assert 29 <= await bench.acknowledged(40) <= 31


@pytest.mark.parametrize("bench", [0], indirect=True)
async def test_without_a_trainer_that_listens_what_is_there_is_all(bench: Bench) -> None:
    bench.gang.save(100)
    bench.commander.take([bench.command("Checkpoint")])
    assert await bench.acknowledged(10) < 5
    assert bench.keeper.state.committed == 100


async def test_a_drain_waits_for_one_more_step_for_a_part_of_its_time(bench: Bench) -> None:
    bench.gang.save(100)
    await bench.gang.clock.advance(5)
    bench.commander.take([bench.command("Drain", within_s=60)])
    await bench.gang.clock.advance(10)
    bench.gang.save(130)
    assert await bench.acknowledged(10) < 10
    assert (bench.keeper.state.committed, bench.keeper.state.phase) == (130, "Flushed")


async def test_a_drain_does_not_wait_for_ever(bench: Bench) -> None:
    bench.gang.save(100)
    await bench.gang.clock.advance(5)
    bench.commander.take([bench.command("Drain", within_s=60)])
    assert 29 <= await bench.acknowledged(40) <= 33


async def test_a_drain_that_could_not_send_all_is_not_acknowledged_and_begun_again(bench: Bench) -> None:
    await bench.gang.clock.advance(1)
    bench.gang.bucket.denied = True
    bench.gang.save(100)
    bench.commander.take([bench.command("Drain", within_s=20)])
    await bench.gang.clock.advance(60)
    assert bench.commander.acknowledged == ()
    bench.gang.bucket.denied = False
    bench.commander.take([bench.command("Drain", within_s=60)])
    await bench.acknowledged(40)
    assert bench.keeper.state.committed == 100


async def test_a_drain_does_not_run_after_a_trainer_that_saves_as_fast_as_uploads_go(tmp_path: Path) -> None:
    """The worker that is left of a broken gang trains on until its pod is deleted, and nobody commits what it saves."""
    bench = Bench(tmp_path, 0, slot="0-1")
    await bench.start()
    gang = bench.gang
    slow = Hook(on_before=lambda verb, _: gang.clock.sleep(1.5 if verb == "put" else 0.0))
    gang.stores["0-1"].faults = slow

    async def train_on() -> None:
        for step in range(200, 10_000, 100):
            await gang.clock.sleep(3)
            gang.save(step, "0-1")

    gang.save(100)
    await gang.run(gang.keepers["0-0"].tick())
    gang.spawner.spawn(train_on(), name="trainer")
    try:
        bench.commander.take([bench.command("Drain", within_s=15)])
        assert await bench.acknowledged(60) <= 15
        assert bench.keeper.state.committed == 100
    finally:
        await gang.spawner.stop()


async def test_a_cadence_is_passed_on(bench: Bench) -> None:
    bench.commander.take([bench.command("Cadence", every_steps=25)])
    await bench.acknowledged(1)
    assert bench.trainers.told == [{"type": "cadence", "everySteps": 25}]
    assert bench.keeper.every_steps == 25


async def test_a_command_that_cannot_be_is_acknowledged_rather_than_repeated(bench: Bench) -> None:
    bench.commander.take([bench.command("Cadence", every_steps=0)])
    await bench.acknowledged(1)
    bench.commander.take([Command(id="x", kind="Drain", deadline="soon")])
    await bench.gang.clock.advance(1)
    assert bench.commander.acknowledged == ("Cadence-1", "x")
    assert bench.trainers.told == []


def test_a_termination_message_always_fits_and_always_parses(tmp_path: Path) -> None:
    damages = tuple(Damage(run=1, step=step, object="o" * 300, problem="p" * 100) for step in range(40))
    for message in ("short", "long " * 1000, "ü🔥" * 1000):
        outcome = Outcome(kind="NoRestorableCheckpoint", message=message, damages=damages)
        leave(tmp_path / "log", outcome)
        data = (tmp_path / "log").read_bytes()
        assert data == fitted(outcome)
        assert len(data) <= LIMIT
        read = msgspec.json.decode(data, type=Outcome)
        assert (read.kind, read.message[:5]) == (outcome.kind, message[:5])
        assert read.damages[-1:] in ((), damages[-1:])


def test_every_outcome_has_an_exit_code() -> None:
    assert set(EXIT_CODES) == set(get_args(OutcomeKind))
    refusals = [code for kind, code in EXIT_CODES.items() if kind not in ("Restored", "Finished")]
    assert len(set(refusals)) == len(refusals)
    assert 0 not in refusals


def test_the_trainer_reads_a_number_or_nothing(tmp_path: Path) -> None:
    tell_step(tmp_path / "run" / "restored-step", None)
    assert (tmp_path / "run" / "restored-step").read_text() == ""
    tell_step(tmp_path / "run" / "restored-step", 0)
    assert (tmp_path / "run" / "restored-step").read_text() == "0"


@pytest.mark.parametrize("kind", ["Checkpoint", "Drain"])
async def test_a_slot_that_does_not_commit_answers_once_the_shared_step_is_complete(
    tmp_path: Path, kind: CommandKind
) -> None:
    bench = Bench(tmp_path, 1, "0-1", layout="Shared")
    await bench.start()
    bench.commander.take([bench.command(kind, within_s=100)])
    await bench.gang.clock.advance(5)
    assert bench.commander.acknowledged == ()
    bench.gang.save(100, "0-0")
    assert await bench.acknowledged(100) < 10
    assert bench.gang.bucket.names("runs/", "commit.json") == [], "the first slot's sidecar is not there"
    await bench.gang.spawner.stop()
