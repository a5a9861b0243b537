"""The three commands as real processes: signals, exit codes, files, the socket, and memory."""

from __future__ import annotations

import asyncio
import json
import signal
import sys
from asyncio.subprocess import PIPE, Process
from collections.abc import AsyncIterator, Iterator
from pathlib import Path

import pytest

from holdfast.api import wire
from tests.support.bucket import Bucket
from tests.support.bucket_server import BucketServer
from tests.support.gang import tree, write_step
from tests.unit.sidecar.processes import Pod, until


@pytest.fixture
def server() -> Iterator[BucketServer]:
    with BucketServer(test=Bucket()) as running:
        yield running


@pytest.fixture
async def pod(tmp_path: Path, server: BucketServer) -> AsyncIterator[Pod]:
    made = Pod(tmp_path / "pod", server.url)
    yield made
    await made.stop()


def peak_mib(process: Process) -> float:
    for line in Path(f"/proc/{process.pid}/status").read_text().splitlines():
        if line.startswith("VmHWM"):
            return int(line.split()[1]) / 1024
    raise AssertionError("the kernel does not tell the peak of memory")


async def test_a_whole_life_from_an_empty_bucket_to_the_next_pod(
    pod: Pod, server: BucketServer, tmp_path: Path
) -> None:
    code, errors = await pod.call("restore")
    assert code == 0, errors
    assert pod.outcome() == wire.Outcome(kind="Restored", run=1)
    assert (pod.run_directory / "restored-step").read_text() == ""

    sidecar = await pod.start("run")
    socket = pod.run_directory / "holdfast.sock"
    await until(socket.exists)
    assert socket.stat().st_mode & 0o777 == 0o666
    write_step(pod.data, 100, "first", size=32 * 1024 * 1024)
    code, errors = await pod.call("flush")
    assert code == 0, errors
    assert json.loads(errors.splitlines()[-1])["answer"] == {"type": "flushed", "lastComplete": 100, "committed": 100}
    write_step(pod.data, 200, "second", size=32 * 1024 * 1024)
    assert peak_mib(sidecar) < 120
    sidecar.send_signal(signal.SIGTERM)
    assert await sidecar.wait() == 0
    outcome = pod.outcome()
    assert (outcome.kind, outcome.last_complete, outcome.part_written, outcome.committed) == ("Finished", 200, 200, 200)
    assert not socket.exists()

    following = Pod(tmp_path / "following", server.url, attempt=2)
    code, errors = await following.call("restore")
    assert code == 0, errors
    assert following.outcome().step == 200
    assert (following.run_directory / "restored-step").read_text() == "200"
    assert tree(following.data / "200") == tree(pod.data / "200")


async def test_a_sidecar_that_is_killed_goes_on_where_it_was(pod: Pod, server: BucketServer) -> None:
    assert (await pod.call("restore"))[0] == 0
    # Small requests do not get through: the large file does, the part manifest does not.
    server.judge = lambda method, path: 503 if "uploadType=multipart" in path else None
    sidecar = await pod.start("run")
    await until((pod.run_directory / "holdfast.sock").exists)
    write_step(pod.data, 100, "first", size=3 * 1024 * 1024)
    await until(lambda: list((pod.volume / "state" / "0-0" / "1" / "journal").glob("*")))
    sidecar.kill()
    await sidecar.wait()
    server.judge = lambda method, path: None
    sent = len([request for request in server.requests if request.startswith("PUT")])

    # The trainer tidies up meanwhile; the links still hold the step.
    for path in sorted((pod.data / "100").rglob("*"), reverse=True):
        path.rmdir() if path.is_dir() and not path.is_symlink() else path.unlink()
    (pod.data / "100").rmdir()
    again = await pod.start("run")
    await until(lambda: server.buckets["test"].names(suffix="commit.json"))
    again.send_signal(signal.SIGTERM)
    assert await again.wait() == 0
    assert pod.outcome().committed == 100
    assert len([request for request in server.requests if request.startswith("PUT")]) == sent


async def test_a_restore_that_waits_hears_sigterm(pod: Pod, server: BucketServer) -> None:
    server.buckets.clear()
    process = await pod.start("restore")
    await until(lambda: len(server.requests) >= 2)
    process.send_signal(signal.SIGTERM)
    assert await asyncio.wait_for(process.wait(), 10) == 1
    assert pod.outcome().kind == "Interrupted"


async def test_refusals_have_exit_codes_of_their_own(pod: Pod, server: BucketServer, tmp_path: Path) -> None:
    assert (await pod.call("restore"))[0] == 0
    other = Pod(tmp_path / "other", server.url, job="other", job_uid="uid-9")
    assert (await other.call("restore"))[0] == wire.EXIT_PREFIX_TAKEN
    assert "belongs to the job team/digits" in other.outcome().message
    older = Pod(tmp_path / "older", server.url, attempt=0)
    assert (await older.call("restore"))[0] == wire.EXIT_SUPERSEDED
    assert older.outcome().seen_attempt == 1


@pytest.mark.parametrize(
    ("variables", "says"),
    [
        ({wire.CONFIG_VARIABLE: ""}, "HOLDFAST_CONFIG is not set"),
        ({wire.CONFIG_VARIABLE: "{"}, "not a valid configuration"),
        ({wire.CONFIG_VARIABLE: "{}"}, "namespace"),
    ],
)
async def test_a_bad_configuration_is_a_clear_error(pod: Pod, variables: dict[str, str], says: str) -> None:
    pod.environment |= variables
    code, errors = await pod.call("restore")
    assert code == 2
    assert says in json.loads(errors.splitlines()[-1])["error"]


async def test_a_sidecar_without_a_restore_says_so(pod: Pod) -> None:
    code, errors = await pod.call("run")
    assert code == 2
    assert "holdfast-restore must run before" in errors


async def test_a_flush_without_a_sidecar_fails_soon(pod: Pod) -> None:
    code, errors = await pod.call("flush")
    assert code == 1
    assert "no sidecar answers" in errors


async def test_a_sidecar_that_breaks_leaves_at_once_though_a_transfer_hangs(pod: Pod) -> None:
    assert (await pod.call("restore"))[0] == 0
    hanging = """
import asyncio, sys, threading
from holdfast.sidecar import main
async def broken(environment, store, seams, stop):
    seams.spawner.spawn(seams.spawner.blocking(threading.Event().wait), name="transfer")
    await seams.clock.sleep(0.1)
    raise OSError("nobody expected this")
main._COMMANDS["run"] = broken
main.main(["run"])
"""
    process = await asyncio.create_subprocess_exec(sys.executable, "-c", hanging, env=pod.environment, stderr=PIPE)
    pod.processes.append(process)
    _, errors = await asyncio.wait_for(process.communicate(), 30)
    assert process.returncode == 1
    assert "nobody expected this" in json.loads(errors.decode().splitlines()[-1])["exception"]
