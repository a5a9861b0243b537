"""The small parts: patience, hashing, the backlog's choice, the volume, and paths that lead out."""

from __future__ import annotations

import errno
import io
from pathlib import Path
from typing import Any

import google_crc32c
import pytest
from blake3 import blake3
from hypothesis import given
from hypothesis import strategies as st

from holdfast.api.wire import StoreState
from holdfast.checkpoint.backlog import LIMIT, Backlog, roundness
from holdfast.checkpoint.download import check_paths
from holdfast.checkpoint.errors import Damaged
from holdfast.checkpoint.hashing import HashingReader, digest_of
from holdfast.checkpoint.manifests import DirectoryEntry, Part, SymlinkEntry
from holdfast.checkpoint.pin import Pin, PinRecord
from holdfast.checkpoint.store.absent import AbsentStore
from holdfast.checkpoint.store.retrying import ENDLESS, SHORT, Retrier
from holdfast.checkpoint.volume import RunState, Volume, VolumeOwner, remove_tree, write_file
from holdfast.seams import (
    BucketMissing,
    ObjectMissing,
    PermissionDenied,
    PreconditionFailed,
    StoreError,
    StoreUnavailable,
)
from tests.support.clock import SeededRandom, VirtualClock, run_until
from tests.support.clock import SeededSpawner as Spawner


class Attempts:
    """A call that fails as it is told, then succeeds."""

    def __init__(self, *failures: StoreError) -> None:
        self.failures = list(failures)
        self.made = 0

    async def __call__(self) -> str:
        self.made += 1
        if self.failures:
            raise self.failures.pop(0)
        return "done"


async def retried(attempts: Attempts, patience: Any) -> tuple[str | StoreError, float, list[StoreState]]:
    clock = VirtualClock()
    states: list[StoreState] = []
    retrier = Retrier(patience, clock, SeededRandom(), states.append)
    task = Spawner().spawn(retrier.call(attempts), name="call")
    await run_until(clock, task.done, limit_s=10_000)
    error = task.exception()
    if error is not None:
        assert isinstance(error, StoreError)
        return error, clock.elapsed, states
    return task.result(), clock.elapsed, states


async def test_short_patience_ends() -> None:
    attempts = Attempts(*[StoreUnavailable("away")] * 10)
    result, elapsed, states = await retried(attempts, SHORT)
    assert isinstance(result, StoreUnavailable)
    assert attempts.made == 4
    assert 1 < elapsed < 4
    assert states[-1] == StoreState(ready=False, reason="StoreUnavailable", message="away")


async def test_endless_patience_waits_for_people_too_and_says_when_it_is_over() -> None:
    attempts = Attempts(
        *[StoreUnavailable("away")] * 40, *[BucketMissing("no bucket")] * 5, *[PermissionDenied("no right")] * 5
    )
    result, elapsed, states = await retried(attempts, ENDLESS)
    assert result == "done"
    assert [state.reason for state in states[-6:]] == ["AccessDenied"] * 5 + ["Ready"]
    assert 10 * 10 + 30 * 7 < elapsed < 10 * 20 + 40 * 15


@pytest.mark.parametrize("error", [BucketMissing("x"), PermissionDenied("x")])
async def test_what_only_people_can_mend_is_not_hammered(error: StoreError) -> None:
    attempts = Attempts(error)
    result, elapsed, _ = await retried(attempts, SHORT)
    assert (result, attempts.made, elapsed) == (error, 1, 0)


@pytest.mark.parametrize("answer", [ObjectMissing("x"), PreconditionFailed("x")])
@pytest.mark.parametrize("patience", [SHORT, ENDLESS])
async def test_answers_are_not_errors_of_the_store(answer: StoreError, patience: Any) -> None:
    attempts = Attempts(StoreUnavailable("away"), answer)
    result, _, states = await retried(attempts, patience)
    assert (result, attempts.made) == (answer, 2)
    assert states[-1].ready


async def test_an_answer_that_fits_nothing_is_reported_as_a_refusal() -> None:
    result, _, states = await retried(Attempts(StoreError("400")), ENDLESS)
    assert result == "done"
    assert states[0].reason == "StoreRefused"


@given(content=st.binary(max_size=5000), sizes=st.lists(st.integers(1, 700), min_size=1))
def test_a_digest_is_that_of_what_was_read(
    tmp_path_factory: pytest.TempPathFactory, content: bytes, sizes: list[int]
) -> None:
    path = tmp_path_factory.mktemp("hash") / "file"
    path.write_bytes(content)
    with HashingReader(path) as reader:
        for size in sizes:
            reader.read(size)
        reader.seek(0)
        while reader.read(sizes[0]):
            pass
        digest = reader.digest
        with pytest.raises(io.UnsupportedOperation):
            reader.seek(1)
    assert (digest.size, digest.crc32c, digest.blake3) == (
        len(content),
        google_crc32c.value(content),
        blake3(content).hexdigest(),
    )
    assert digest_of(path).blake3 == digest.blake3


def held(step: int) -> Pin:
    record = PinRecord(step=step, directory=str(step), format="Orbax", evidence="Explicit", linked=True)
    return Pin(record, Path("/nowhere"))


@given(count=st.integers(1, 60), lag=st.integers(0, 3), every=st.sampled_from([1, 10, 100]))
def test_slots_that_look_at_different_times_keep_steps_in_common(count: int, lag: int, every: int) -> None:
    """Two slots that see the same saves, one a little later, end with the same steps but for the newest ones."""
    kept: list[set[int]] = []
    for behind in (0, lag):
        backlog = Backlog()
        for number in range(1, count + 1 - behind):
            backlog.add(held(number * every))
            backlog.surplus(every)
        kept.append({step for step in range(every, every * count + 1, every) if step in backlog})
        assert len(kept[-1]) <= LIMIT
        assert backlog.hurried is None or backlog.hurried == every * (count - behind)
    if count > lag:
        assert every in kept[0] & kept[1]


def test_what_is_being_sent_is_never_given_up() -> None:
    backlog = Backlog()
    backlog.hurry = True
    for step in (100, 200, 300):
        backlog.add(held(step))
    sending = backlog.next()
    assert sending is not None
    for step in range(400, 2000, 100):
        backlog.add(held(step))
        assert sending.record.step not in {pin.record.step for pin in backlog.surplus(100)}
    assert [roundness(step, 100) for step in (100, 200, 300, 400, 800, 50)] == [1, 2, 1, 3, 4, 2]


def part(directory: str = "100", path: str = "a", link: str = "b") -> Part:
    return Part(
        run=1,
        step=1,
        attempt=1,
        job_uid="u",
        slot="0-0",
        parts=1,
        directory=directory,
        format="Orbax",
        evidence="Explicit",
        directories=(DirectoryEntry(path=path, mode=0o755, uid=0, gid=0),),
        symlinks=(SymlinkEntry(path=link, target="../anywhere/is/the/trainers/own/matter"),),
    )


@pytest.mark.parametrize("bad", ["/etc", "../x", "a/../../x", "x\x00y"])
@pytest.mark.parametrize("where", ["directory", "path", "link"])
def test_a_manifest_cannot_write_outside(bad: str, where: str) -> None:
    check_paths(part())
    with pytest.raises(Damaged, match="leads out"):
        check_paths(part(**{where: bad}))


def test_state_belongs_to_one_attempt_of_one_job(tmp_path: Path) -> None:
    volume = Volume(tmp_path, "0-0", 2)
    volume.prepare()
    state = RunState(job_uid="u", attempt=2, run=5, placed=True)
    volume.save_run(state)
    assert volume.load_run("u") == state
    assert volume.load_run("other") is None
    assert Volume(tmp_path, "0-0", 3).load_run("u") is None
    (tmp_path / "state/0-0/2/run.json").write_bytes(b'{"jobUid":')
    assert volume.load_run("u") is None


def test_older_attempts_are_found_newest_first_and_forgotten_and_newer_ones_are_left_alone(tmp_path: Path) -> None:
    for name in ("1", "3", "10", "2", "lost+found"):
        (tmp_path / "data" / name / "100").mkdir(parents=True)
    for slot, attempt in (("0-0", 2), ("0-0", 3), ("0-0", 4), ("0-1", 1)):
        Volume(tmp_path, slot, attempt).prepare()
    volume = Volume(tmp_path, "0-0", 3)
    assert [path.name for path in volume.older_data()] == ["2", "1"]
    volume.forget_older(data=False)
    assert [path.name for path in volume.older_data()] == ["2", "1"], "what the trainers wrote is the first slot's"
    volume.forget_older(data=True)
    assert sorted(path.name for path in (tmp_path / "data").iterdir()) == ["10", "3", "4", "lost+found"]
    states = (path.relative_to(tmp_path / "state").as_posix() for path in (tmp_path / "state").glob("*/*"))
    assert sorted(states) == ["0-0/3", "0-0/4", "0-1/1"]


def test_a_survivor_that_goes_on_writing_holds_nobody_up(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    (tmp_path / "data/1/100").mkdir(parents=True)
    volume = Volume(tmp_path, "0-0", 2)
    volume.prepare()
    trouble = OSError(errno.ENOTEMPTY, "a file has come")

    def busy(path: Path) -> None:
        if path.name == "1":
            raise trouble

    monkeypatch.setattr("holdfast.checkpoint.volume.remove_tree", busy)
    volume.forget_older(data=True)
    trouble = OSError(errno.EIO, "a broken disk")
    with pytest.raises(OSError, match="broken disk"):
        volume.forget_older(data=True)


def test_a_volume_goes_to_the_newer_job_emptied_and_never_back(tmp_path: Path) -> None:
    older = VolumeOwner(job_created="2030-01-01T00:00:00Z", job_uid="b")
    newer = VolumeOwner(job_created="2030-01-02T00:00:00Z", job_uid="a")
    volume = Volume(tmp_path, "0-0", 5)
    assert volume.take_over(older) is None
    volume.prepare()
    (volume.data / "100").mkdir()
    assert volume.take_over(older) is None
    assert (volume.data / "100").exists()
    assert Volume(tmp_path, "0-0", 1).take_over(newer) is None
    assert not (tmp_path / "data").exists()
    assert not volume.state.exists()
    assert [path.name for path in tmp_path.iterdir()] == ["state"]
    (tmp_path / "data/1/100").mkdir(parents=True)
    assert volume.take_over(older) == newer
    assert (tmp_path / "data/1/100").exists()


def test_a_pod_of_the_former_job_that_goes_on_writing_holds_nobody_up(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    volume = Volume(tmp_path, "0-0", 1)
    volume.take_over(VolumeOwner(job_created="2030-01-01T00:00:00Z", job_uid="a"))
    (volume.data / "100").mkdir(parents=True)

    def busy(path: Path) -> None:
        raise OSError(errno.ENOTEMPTY, "a file has come")

    with monkeypatch.context() as patched:
        patched.setattr("holdfast.checkpoint.volume.remove_tree", busy)
        for day in (2, 3):
            volume.take_over(VolumeOwner(job_created=f"2030-01-0{day}T00:00:00Z", job_uid="b"))
            assert not volume.data.exists()
            (volume.data / "200").mkdir(parents=True)
    volume.take_over(VolumeOwner(job_created="2030-01-04T00:00:00Z", job_uid="c"))
    assert [path.name for path in tmp_path.iterdir()] == ["state"], "what was left is removed by the next one"


def test_files_are_replaced_whole_and_trees_removed_repeatedly(tmp_path: Path) -> None:
    for content in (b"one", b"two"):
        write_file(tmp_path / "a" / "file", content)
        assert [(path.name, path.read_bytes()) for path in (tmp_path / "a").iterdir()] == [("file", content)]
    remove_tree(tmp_path / "a")
    remove_tree(tmp_path / "a")
    assert list(tmp_path.iterdir()) == []


async def test_a_job_without_a_bucket_says_so_to_whoever_asks() -> None:
    store = AbsentStore()
    for call in (
        store.put("a", b""),
        store.get("a"),
        store.list(""),
        store.list_folder(""),
        store.delete("a"),
        store.get_stream("a", print),
    ):
        with pytest.raises(PermissionDenied, match=r"set spec\.checkpoint\.destination"):
            await call
    await store.close()
