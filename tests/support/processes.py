"""Replicas of the operator as processes of their own, Kopf included, against the API server in memory over HTTP."""

from __future__ import annotations

import asyncio
import contextlib
import json
import os
import signal
import socket
import sys
from collections.abc import AsyncIterator, Callable
from dataclasses import dataclass, field
from pathlib import Path

import aiohttp
import pytest

from holdfast.seams.real import SystemClock, TaskSpawner
from tests.support.apiserver import MemoryApiServer
from tests.support.apiserver_http import HttpApiServer
from tests.support.apiserver_store import Document

JOB: Document = {
    "metadata": {"name": "j", "namespace": "ns"},
    "spec": {
        "accelerator": {"cpu": {"workers": 2}},
        "template": {"spec": {"containers": [{"name": "trainer", "image": "busybox"}]}},
    },
}


def free_port() -> int:
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        port: int = probe.getsockname()[1]
        return port


async def until(predicate: Callable[[], bool], within_s: float = 30) -> None:
    async with asyncio.timeout(within_s):
        for _ in iter(predicate, True):
            await asyncio.sleep(0.02)


@dataclass
class Operator:
    """One process, its log lines and its ports."""

    process: asyncio.subprocess.Process
    http_port: int
    lines: list[Document] = field(default_factory=list)

    async def read_log(self) -> None:
        assert self.process.stderr is not None
        async for line in self.process.stderr:
            self.lines.append(json.loads(line) if line.startswith(b"{") else {"event": "text", "text": line.decode()})

    def events(self) -> list[str]:
        return [str(line["event"]) for line in self.lines]

    async def get(self, path: str) -> tuple[int, str]:
        async with aiohttp.ClientSession() as session, session.get(f"http://127.0.0.1:{self.http_port}{path}") as got:
            return got.status, await got.text()

    async def ready(self, within_s: float = 30) -> None:
        """Wait until the process says that it is ready."""
        async with asyncio.timeout(within_s):
            while True:
                with contextlib.suppress(aiohttp.ClientConnectorError):
                    if (await self.get("/readyz"))[0] == 200:
                        return
                await asyncio.sleep(0.1)

    async def stop(self, number: int = signal.SIGTERM) -> float:
        began = SystemClock().monotonic()
        if self.process.returncode is None:
            self.process.send_signal(number)
        await self.process.wait()
        return SystemClock().monotonic() - began


class Processes:
    """The API server and the operators of one test."""

    def __init__(self, directory: Path) -> None:
        self.directory = directory
        self.memory = MemoryApiServer(SystemClock(), TaskSpawner())
        self.server = HttpApiServer(self.memory)
        self.operators: list[Operator] = []
        self.logs: list[asyncio.Task[None]] = []

    async def start(self, name: str, **environment: str) -> Operator:
        port = free_port()
        settings = {
            "KUBECONFIG": str(self.server.kubeconfig(self.directory)),
            "HOLDFAST_NAMESPACE": "system",
            "HOLDFAST_POD_NAME": name,
            "HOLDFAST_POD_IP": "127.0.0.1",
            "HOLDFAST_SIDECAR_IMAGE": "sidecar",
            "HOLDFAST_HTTP_PORT": str(port),
            "PYTHONPATH": "operator",
            **environment,
        }
        process = await asyncio.create_subprocess_exec(
            sys.executable, "-m", "holdfast.app.main", env={**os.environ, **settings}, stderr=asyncio.subprocess.PIPE
        )
        operator = Operator(process, port)
        self.operators.append(operator)
        self.logs.append(asyncio.ensure_future(operator.read_log()))
        return operator

    async def leading(self, operator: Operator) -> None:
        await until(lambda: "engine.leads" in operator.events() or operator.process.returncode is not None)
        assert operator.process.returncode is None, operator.lines

    def kopf_requests(self) -> list[tuple[str, str]]:
        return [(method, path) for agent, method, path in self.server.agents if "kopf" in agent]

    async def close(self) -> None:
        for operator in self.operators:
            await operator.stop(signal.SIGKILL)
        await asyncio.gather(*self.logs)
        await self.server.stop()


@pytest.fixture
async def processes(tmp_path: Path) -> AsyncIterator[Processes]:
    made = Processes(tmp_path)
    await made.server.start()
    yield made
    await made.close()
