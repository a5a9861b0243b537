"""The faults of the soak: every kind in turn, in an order from a seed; several at a time, each undone by itself."""

from __future__ import annotations

import random
import threading
from collections import Counter
from collections.abc import Callable
from concurrent.futures import Future, ThreadPoolExecutor

from kubernetes.client import ApiException
from urllib3.exceptions import HTTPError

from deploy.demo.lab import Lab
from deploy.kind.console import Problem, say
from tests.soak.deck import Deck
from tests.soak.jobs import Fleet
from tests.soak.on_cluster import ClusterFaults
from tests.soak.on_jobs import JobFaults
from tests.soak.recoveries import Recoveries

# Seconds between two faults.
PAUSE_S = (6.0, 16.0)

_TROUBLE = (Problem, ApiException, HTTPError, OSError, LookupError, AssertionError)

Fault = Callable[[random.Random], bool]


class Storm:
    """Makes faults. `counts` says which, `refused` which of them could not be made."""

    def __init__(self, lab: Lab, fleet: Fleet, recoveries: Recoveries, bucket: threading.Lock, seed: int) -> None:
        self._chance = random.Random(seed)
        self._pool = ThreadPoolExecutor(8, thread_name_prefix="fault")
        self._under_way: list[Future[None]] = []
        self._stopping = threading.Event()
        self.counts: Counter[str] = Counter()
        self.refused: Counter[str] = Counter()
        jobs = JobFaults(lab, fleet, recoveries, self._stopping)
        cluster = ClusterFaults(lab, fleet, recoveries, bucket, self._stopping)
        # How often each comes in a round.
        on_jobs: dict[str, tuple[int, Fault]] = {
            "trainer killed": (3, jobs.kill_trainer),
            "sidecar killed": (2, jobs.kill_sidecar),
            "pod deleted": (1, jobs.delete_pod),
            "suspended": (2, jobs.suspend),
            "checkpoint asked for": (2, jobs.checkpoint_now),
            "deleted, applied again": (1, jobs.apply_again),
        }
        on_cluster: dict[str, tuple[int, Fault]] = {
            "operator killed": (1, cluster.kill_operator),
            "leader paused": (1, cluster.pause_leader),
            "leader deleted": (1, cluster.delete_leader),
            "node off": (1, cluster.node_off),
            "node preempted": (1, cluster.preempt),
            "node drained": (1, cluster.drain),
            "API server away": (1, cluster.api_away),
            "bucket away": (1, cluster.bucket_away),
        }
        menu = on_jobs | on_cluster
        self._faults = {kind: fault for kind, (_, fault) in menu.items()}
        self._deck = Deck({kind: count for kind, (count, _) in menu.items()}, self._chance)
        self._on_jobs = Deck({kind: count for kind, (count, _) in on_jobs.items()}, self._chance)

    def next_pause_s(self) -> float:
        """How long to wait for the next fault."""
        return self._chance.uniform(*PAUSE_S)

    def strike(self, *, jobs_only: bool = False) -> None:
        """Begin one fault, in a thread of its own; with `jobs_only` one that leaves operators and nodes alone."""
        deck = self._on_jobs if jobs_only else self._deck
        kind = deck.draw()
        # Each has a generator of its own: how long one thread takes changes nothing for the others.
        chance = random.Random(self._chance.random())
        self._under_way = [one for one in self._under_way if not one.done()]
        self._under_way.append(self._pool.submit(self._make, deck, kind, chance))

    def stop(self) -> None:
        """Begin no more, and wait until those under way are undone."""
        self._stopping.set()
        for one in self._under_way:
            one.result(300)
        self._pool.shutdown()

    def never_made(self) -> list[str]:
        """The kinds that did not happen at all."""
        return [f"{kind}: never made" for kind in self._faults if not self.counts[kind]]

    def _make(self, deck: Deck, kind: str, chance: random.Random) -> None:
        if self._stopping.is_set():
            return
        try:
            made = self._faults[kind](chance)
        except _TROUBLE as error:
            say(f"{kind}: not made: {str(error).splitlines()[0][:140] if str(error) else error!r}")
            made = False
        (self.counts if made else self.refused)[kind] += 1
        if not made:
            deck.put_back(kind)
