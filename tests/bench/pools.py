"""What a pass pays for node pools in a large cluster, placed or not: `python -m tests.bench.pools`."""

from __future__ import annotations

import argparse
import time
from collections.abc import Callable
from datetime import UTC, datetime

from holdfast.accelerators.tpu import ACCELERATOR_LABEL
from holdfast.app.pools import PoolOccupancy
from holdfast.app.watched import identify
from holdfast.cluster.cache import Cache
from holdfast.planning.observed import Metadata, Node, Pod, PodSpec, PodStatus
from holdfast.training.pools import NODE_POOL
from tests.bench.machine import machine

TIMES = 50


def filled(pools: int, hosts: int) -> PoolOccupancy:
    """Return the occupancy of a cluster that is full: every pool is held by a job of its own."""
    found = PoolOccupancy(Cache[Node](identify))
    for number in range(pools):
        selector = {ACCELERATOR_LABEL: "tpu-v6e-slice", NODE_POOL: f"pool-{number}"}
        for host in range(hosts):
            pod = Pod(
                metadata=Metadata(uid=f"{number}-{host}"),
                spec=PodSpec(node_name=f"n-{number}-{host}", node_selector=selector),
                status=PodStatus(phase="Running"),
            )
            found.saw(("ns", f"job-{number}"), pod, gone=False)
    return found


def milliseconds(work: Callable[[], object]) -> float:
    """Return what one call takes, the median of many."""
    taken = []
    for _ in range(TIMES):
        began = time.perf_counter()
        work()
        taken.append(time.perf_counter() - began)
    return 1000 * sorted(taken)[TIMES // 2]


def main() -> None:
    parser = argparse.ArgumentParser(prog="python -m tests.bench.pools", description=__doc__)
    parser.add_argument("--pools", type=int, default=12_500)
    parser.add_argument("--hosts", type=int, default=4)
    wanted = parser.parse_args()
    occupancy = filled(wanted.pools, wanted.hosts)
    names = [f"pool-{number}" for number in range(wanted.pools)]
    mine = ("ns", "job-0")
    print(f"{wanted.pools} pools of {wanted.hosts} hosts; {machine().as_json()}, {datetime.now(UTC):%Y-%m-%d}")
    print(f"a pass that places nothing: {milliseconds(lambda: occupancy.occupied_by_others(mine)):.4f} ms")

    def place() -> list[str]:
        held = occupancy.occupied_by_others(mine)
        return [name for name in names if name not in held]

    print(f"a pass that looks for a free pool among all: {milliseconds(place):.2f} ms")


if __name__ == "__main__":
    main()
