"""Kopf itself against the API server in memory over HTTP: what it wakes, what it asks for, and what it goes on from."""

from __future__ import annotations

import asyncio
import threading
from collections.abc import AsyncIterator, Callable, Mapping
from contextlib import AbstractAsyncContextManager
from pathlib import Path
from typing import Any

import kopf
import pytest

from holdfast.app.handlers import kopf_settings, registry
from holdfast.app.kinds import REGISTERED
from holdfast.cluster.credentials import from_kubeconfig
from holdfast.cluster.objects import Key
from holdfast.planning.plan import Resource
from holdfast.seams import ApiError, WatchStream
from holdfast.seams.real import SystemClock, TaskSpawner
from tests.support.apiserver import MemoryApiServer
from tests.support.apiserver_faults import matching
from tests.support.apiserver_http import HttpApiServer
from tests.support.apiserver_store import Document

JOBS = "/apis/holdfast.dev/v1alpha1/trainingjobs"


def job(name: str) -> Document:
    template = {"spec": {"containers": [{"name": "trainer", "image": "x"}]}}
    return {
        "metadata": {"name": name, "namespace": "ns"},
        "spec": {"accelerator": {"cpu": {"workers": 1}}, "template": template},
    }


class Remembering(MemoryApiServer):
    """Remembers what its watches were asked to begin with."""

    versions: list[str]

    def watch(
        self, path: str, *, query: Mapping[str, str], idle_timeout_s: float
    ) -> AbstractAsyncContextManager[WatchStream]:
        self.versions.append(query["resourceVersion"])
        return super().watch(path, query=query, idle_timeout_s=idle_timeout_s)


class Shell:
    """Kopf with our registry, and everything that it woke.

    It has a loop of its own, in a thread: when it stops it cancels all tasks that were made after its own.
    """

    def __init__(self, directory: Path) -> None:
        self.memory = Remembering(SystemClock(), TaskSpawner())
        self.memory.versions = []
        self.server = HttpApiServer(self.memory)
        self.directory = directory
        self.woken: list[str] = []
        self.stopping = threading.Event()
        self.thread: threading.Thread | None = None

    async def start(self) -> None:
        await self.server.start()
        access = from_kubeconfig(self.server.kubeconfig(self.directory), SystemClock())

        async def nothing() -> None:
            pass

        def wake(resource: Resource | None, key: Key | None, *, within_s: float = 0.0) -> None:
            assert key is not None
            self.woken.append(key[1])

        made = registry(REGISTERED, access, SystemClock(), wake=wake, start=nothing, served=nothing, stop=nothing)

        async def run() -> None:
            await kopf.operator(
                registry=made, settings=kopf_settings(), standalone=True, clusterwide=True, stop_flag=self.stopping
            )

        self.thread = threading.Thread(target=lambda: asyncio.run(run()))
        self.thread.start()
        await until(lambda: self.asked() >= 2)

    def asked(self) -> int:
        """Return how many lists and watches of jobs there were."""
        return sum(path == JOBS for _, _, path in self.server.agents)

    async def stop(self) -> None:
        self.stopping.set()
        if self.thread is not None:
            await asyncio.to_thread(self.thread.join)
        await self.server.stop()


async def until(holds: Callable[[], bool], within_s: float = 20) -> None:
    async with asyncio.timeout(within_s):
        for _ in iter(holds, True):
            await asyncio.sleep(0.02)


@pytest.fixture
async def shell(tmp_path: Path) -> AsyncIterator[Shell]:
    made = Shell(tmp_path)
    yield made
    await made.stop()


async def test_objects_that_were_there_that_come_and_that_go_wake_their_keys(shell: Shell) -> None:
    shell.memory.put("trainingjobs", job("old"))
    await shell.start()
    await until(lambda: shell.woken == ["old"])
    shell.memory.put("trainingjobs", job("new"))
    await until(lambda: shell.woken == ["old", "new"])
    shell.memory.remove("trainingjobs", "ns", "old")
    await until(lambda: shell.woken == ["old", "new", "old"])


async def test_a_kind_without_any_object_is_watched(shell: Shell) -> None:
    """The real server writes a list of metadata without items as null, which Kopf does not know."""
    await shell.start()
    shell.memory.put("trainingjobs", job("first"))
    await until(lambda: shell.woken == ["first"])


async def test_changes_never_reach_its_machinery(shell: Shell, monkeypatch: pytest.MonkeyPatch) -> None:
    """Should a version of Kopf read its watches in another way, this says that changes have become dear again."""
    seen: list[Any] = []
    storage = kopf_settings().persistence.diffbase_storage
    monkeypatch.setattr(type(storage), "fetch", lambda self, *, body: seen.append(dict(body)))
    await shell.start()
    shell.memory.put("trainingjobs", job("a"))
    for number in range(20):
        shell.memory.merge("trainingjobs", "ns", "a", {"metadata": {"labels": {"n": str(number)}}})
    shell.memory.put("trainingjobs", job("b"))
    await until(lambda: shell.woken == ["a", "b"])
    assert [one["metadata"]["name"] for one in seen] == ["a", "b"]
    assert all(one.keys() == {"metadata"} and len(one["metadata"]) == 4 for one in seen), "names alone"


async def test_a_watch_goes_on_from_the_last_change(shell: Shell) -> None:
    await shell.start()
    shell.memory.put("trainingjobs", job("a"))
    changed = shell.memory.merge("trainingjobs", "ns", "a", {"metadata": {"labels": {"n": "1"}}})
    await until(lambda: shell.woken == ["a"])
    await asyncio.sleep(0.3)
    asked = shell.asked()
    await shell.server.stop()
    shell.memory.put("trainingjobs", job("b"))
    await shell.server.start()
    await until(lambda: shell.woken[1:] == ["b"])
    assert shell.asked() == asked + 1, "a watch, and no list before it"
    assert shell.memory.versions[-1] == changed["metadata"]["resourceVersion"]


async def test_a_token_that_is_not_known_any_more_is_read_anew(shell: Shell) -> None:
    shell.memory.faults.refuse(matching("GET", "trainingjobs"), ApiError(401, "Unauthorized", "who?"), times=2)
    shell.memory.put("trainingjobs", job("a"))
    await shell.start()
    await until(lambda: shell.woken == ["a"])
