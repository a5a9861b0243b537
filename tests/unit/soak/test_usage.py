"""What the soak reads: lines of a look at a node (made here by the very script), and an operator's metrics."""

from __future__ import annotations

import subprocess
import sys
import time
from pathlib import Path

from holdfast.app import series
from holdfast.app.operator import Replica
from holdfast.app.settings import OperatorSettings
from tests.soak.leftovers import EMPTY, left
from tests.soak.slopes import LIMITS
from tests.soak.terms import MOST_A_TERM
from tests.soak.usage import LOOK, of_metrics, on_node
from tests.support.apiserver import MemoryApiServer
from tests.support.clock import SeededRandom, SeededSpawner, VirtualClock

HOLDS = """
import socket, time
kept = [open("/dev/null") for _ in range(20)], socket.socket()
print("up", flush=True)
time.sleep(60)
"""


def test_the_look_at_a_node_finds_a_process_and_what_it_holds(tmp_path: Path) -> None:
    program = tmp_path / "holdfast-sidecar"
    program.write_text(HOLDS)
    sidecar = subprocess.Popen([sys.executable, str(program), "run"], stdout=subprocess.PIPE)
    other = subprocess.Popen([sys.executable, str(program), "flush"], stdout=subprocess.PIPE)
    try:
        for process in (sidecar, other):
            assert process.stdout is not None
            process.stdout.readline()
        look = subprocess.Popen(["sh", "-c", LOOK], stdout=subprocess.PIPE, text=True)
        text = look.communicate(timeout=30)[0]
    finally:
        for process in (sidecar, other):
            process.kill()
            process.communicate()
    found = {one.life.split("/")[1]: one for one in on_node("node", text)}
    # A local cluster on this machine may have sidecars of its own.
    assert found.keys().isdisjoint({str(other.pid), str(look.pid)}), "neither the hook, nor the script that looks"
    seen = found[str(sidecar.pid)]
    assert seen.role == "sidecar"
    assert 0 <= seen.age_s < 30
    assert seen.values["open files"] >= 20
    assert seen.values["sockets"] == 1
    assert seen.values["threads"] == 1
    assert 1e6 < seen.values["memory"] < 1e9


async def replica() -> Replica:
    clock, spawner = VirtualClock(), SeededSpawner()
    settings = OperatorSettings(namespace="system", pod_name="op-0", pod_ip="10.0.0.1", sidecar_image="i")
    return Replica(settings, MemoryApiServer(clock, spawner), clock, SeededRandom(), spawner)


async def test_an_operators_metrics_tell_what_proc_cannot() -> None:
    sample = of_metrics("op-0", (await replica()).metrics.render().decode(), time.time())
    assert (sample.role, sample.leads) == ("replica", False)
    assert sample.values["tasks"] >= 1
    assert set(MOST_A_TERM) <= set(sample.values)
    assert {limit.what for limit in LIMITS["leader"]} <= set(sample.values)
    assert 100 < sample.values["series"] < 1000
    assert sample.age_s >= 0
    assert sample.life.startswith("op-0/")


def test_what_reports_hold_is_told_apart() -> None:
    told = {
        "process_start_time_seconds": 1000,
        "process_resident_memory_bytes": 7e7,
        "process_open_fds": 50,
        "holdfast_open_sockets": 40,
        "holdfast_threads": 2,
        "holdfast_tasks": 110,
        "holdfast_report_connections": 12,
        "holdfast_report_polls": 6,
        "holdfast_leader": 1,
    }
    sample = of_metrics("op-0", "".join(f"{name} {value}\n" for name, value in told.items()), 1030.0)
    assert (sample.leads, sample.age_s) == (True, 30.0)
    assert (sample.values["open files"], sample.values["sockets"], sample.values["tasks"]) == (38, 28, 80)
    assert (sample.values["report connections"], sample.values["report polls"]) == (12, 6)


async def test_what_is_left_is_named() -> None:
    one = await replica()
    assert left(one.metrics.render().decode()) == []
    assert set(EMPTY) <= {each.name for each in series.ALL}
    one.engine.queue.add(next((registration, ("ns", "j")) for registration in one.watched.registrations.values()))
    assert left(one.metrics.render().decode()) == ["holdfast_queue_depth=1"]
    assert f"{EMPTY[0]}=?" in left("")
