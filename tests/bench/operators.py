"""The operator as the processes that run in production, against the control plane under test."""

from __future__ import annotations

import asyncio
import os
import re
import signal
import socket
import subprocess
import sys
import time
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

import aiohttp

from tests.bench import machine

NAMESPACE = "holdfast-system"
_SOURCES = Path(__file__).resolve().parents[2] / "operator"


@dataclass
class Replica:
    """One process of the operator."""

    process: subprocess.Popen[bytes]
    port: int
    log: Path

    @property
    def pid(self) -> int:
        return self.process.pid

    def cpu_s(self) -> float:
        return machine.cpu_s(self.pid)

    def peak_mb(self) -> float:
        return machine.memory_mb(self.pid, peak=True)

    def memory_mb(self) -> float:
        return machine.memory_mb(self.pid, peak=False)

    async def ready(self, within_s: float) -> None:
        """Wait until it says that it is ready."""
        await self._until("/readyz", lambda status, text: status == 200, within_s)

    async def leading(self, within_s: float) -> None:
        """Wait until it holds the Lease."""
        await self._until("/metrics", lambda status, text: _value(text, "holdfast_leader") == 1, within_s)

    async def at_rest(self, within_s: float) -> None:
        """Wait until it leads, has planned every job it knows at least once, and no key waits for a worker."""

        def rests(status: int, text: str) -> bool:
            passes = sum(
                float(found) for found in re.findall(r"^holdfast_reconcile_seconds_count\{.*\} (\S+)", text, re.M)
            )
            jobs = _value(text, 'holdfast_watched_objects{resource="trainingjobs"}')
            return (
                _value(text, "holdfast_queue_depth") == 0
                and passes >= jobs >= 0
                and _value(text, "holdfast_leader") == 1
            )

        await self._until("/metrics", rests, within_s)

    async def requests(self) -> dict[str, float]:
        """Return its requests to the API server by verb, as it counts them itself."""
        _, text = await self._get("/metrics")
        found: dict[str, float] = {}
        for verb, number in re.findall(r'^holdfast_api_requests_total\{.*verb="(\w+)"\} (\S+)', text, re.M):
            found[verb] = found.get(verb, 0) + float(number)
        return found

    def stop(self, number: int = signal.SIGTERM) -> None:
        """End it and wait until it is gone."""
        if self.process.poll() is None:
            self.process.send_signal(number)
        self.process.wait(timeout=30)

    async def _until(self, path: str, holds: Callable[[int, str], bool], within_s: float) -> None:
        ends = time.monotonic() + within_s
        while time.monotonic() < ends:
            if self.process.poll() is not None:
                raise RuntimeError(f"the operator has ended; its log is {self.log}")
            try:
                if holds(*await self._get(path)):
                    return
            except (aiohttp.ClientError, TimeoutError):
                pass
            await asyncio.sleep(0.05)
        raise TimeoutError(f"{path}: not within {within_s:.0f} s; the operator's log is {self.log}")

    async def _get(self, path: str) -> tuple[int, str]:
        timeout = aiohttp.ClientTimeout(total=5)
        async with (
            aiohttp.ClientSession(timeout=timeout) as session,
            session.get(f"http://127.0.0.1:{self.port}{path}") as got,
        ):
            return got.status, await got.text()


def start(kubeconfig: Path, folder: Path, name: str) -> Replica:
    """Start one replica of the operator."""
    port = _free_port()
    environ = {key: value for key, value in os.environ.items() if not key.lower().endswith("_proxy")}
    environ |= {
        "KUBECONFIG": str(kubeconfig),
        "PYTHONPATH": str(_SOURCES),
        "HOLDFAST_NAMESPACE": NAMESPACE,
        "HOLDFAST_POD_NAME": name,
        "HOLDFAST_POD_IP": "127.0.0.1",
        "HOLDFAST_SIDECAR_IMAGE": "registry.example/holdfast:1",
        "HOLDFAST_HTTP_PORT": str(port),
    }
    log = folder / f"{name}.log"
    with log.open("ab") as out:
        process = subprocess.Popen(
            [sys.executable, "-m", "holdfast.app.main"], stdin=subprocess.DEVNULL, stdout=out, stderr=out, env=environ
        )
    return Replica(process, port, log)


def _free_port() -> int:
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        port: int = probe.getsockname()[1]
        return port


def _value(text: str, series: str) -> float:
    for line in text.splitlines():
        if line.startswith(series + " "):
            return float(line.rsplit(" ", 1)[1])
    return -1.0
