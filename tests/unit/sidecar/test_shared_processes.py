"""Two pods on one volume, as real processes: the second waits for the first, and only the first commits."""

from __future__ import annotations

import asyncio
import signal
from collections.abc import AsyncIterator
from pathlib import Path

import pytest

from tests.support.bucket import Bucket
from tests.support.bucket_server import BucketServer
from tests.support.gang import tree, write_step
from tests.unit.sidecar.processes import Pod, until


@pytest.fixture
async def gang(tmp_path: Path) -> AsyncIterator[list[Pod]]:
    with BucketServer(test=Bucket()) as server:
        made: list[Pod] = []
        for attempt in (1, 2):
            for slot in ("0-0", "0-1"):
                root = tmp_path / f"{slot}-{attempt}"
                fields = {"slot": slot, "attempt": attempt, "layout": "Shared"}
                made.append(Pod(root, server.url, volume=tmp_path / "claim", **fields))
        yield made
        for pod in made:
            await pod.stop()


async def test_a_life_of_two_pods_on_a_shared_volume(gang: list[Pod]) -> None:
    first, second, *_ = gang
    waiting = await second.start("restore")
    await until((first.volume / "state/0-1/1").exists)
    code, errors = await first.call("restore")
    assert code == 0, errors
    assert await waiting.wait() == 0

    sidecars = [await first.start("run"), await second.start("run")]
    for pod in (first, second):
        await until((pod.run_directory / "holdfast.sock").exists)
    write_step(first.data, 100, "both", size=1024 * 1024)
    codes = await asyncio.gather(first.call("flush"), second.call("flush"))
    assert [code for code, _ in codes] == [0, 0], codes
    for sidecar in sidecars:
        sidecar.send_signal(signal.SIGTERM)
    assert [await sidecar.wait() for sidecar in sidecars] == [0, 0]
    assert (first.outcome().last_complete, first.outcome().committed) == (100, 100)
    assert (second.outcome().last_complete, second.outcome().committed) == (100, None)

    content = tree(first.data / "100")
    later = gang[2:]
    ended = await asyncio.gather(*(pod.call("restore") for pod in later))
    assert [code for code, _ in ended] == [0, 0], ended
    for pod in later:
        assert (pod.run_directory / "restored-step").read_text() == "100"
        assert tree(pod.data / "100") == content
    assert not first.data.exists()
