"""The faults of the soak: chosen at random from a seed, several at a time, each undone by itself."""

from __future__ import annotations

import random
import threading
import time
from collections import Counter
from collections.abc import Callable
from concurrent.futures import Future, ThreadPoolExecutor

from kubernetes.client import ApiException
from urllib3.exceptions import HTTPError

from deploy.demo import machines
from deploy.demo.lab import REPLY_S, Lab
from deploy.kind import faults
from deploy.kind.console import Problem, say
from tests.e2e.harness.operator_killer import kill_one
from tests.e2e.harness.outage import scale_bucket
from tests.e2e.harness.runs import Run
from tests.soak.jobs import Fleet

# Seconds between two faults; and how long those that last do.
PAUSE_S = (6.0, 16.0)
NODE_AWAY_S, BUCKET_AWAY_S, SUSPENDED_S = (20.0, 50.0), (10.0, 40.0), (5.0, 30.0)

_GROUP, _VERSION, _PLURAL = "holdfast.dev", "v1alpha1", "trainingjobs"
_TROUBLE = (Problem, ApiException, HTTPError, OSError, LookupError, AssertionError)

Fault = Callable[[random.Random], bool]


class Storm:
    """Makes faults. `counts` says which, `refused` which of them could not be made."""

    def __init__(self, lab: Lab, fleet: Fleet, bucket: threading.Lock, seed: int) -> None:
        self._lab = lab
        self._fleet = fleet
        self._bucket = bucket
        self._node = threading.Lock()
        self._chance = random.Random(seed)
        self._pool = ThreadPoolExecutor(4, thread_name_prefix="fault")
        self._under_way: list[Future[None]] = []
        self._stopping = threading.Event()
        self.counts: Counter[str] = Counter()
        self.refused: Counter[str] = Counter()
        # (weight, fault): about every third is the death of a trainer.
        self._menu: dict[str, tuple[int, Fault]] = {
            "trainer killed": (6, self._kill_trainer),
            "sidecar killed": (2, self._kill_sidecar),
            "operator killed": (2, self._kill_operator),
            "node off": (1, self._node_off),
            "bucket away": (2, self._bucket_away),
            "suspended": (2, self._suspend),
            "checkpoint asked for": (3, self._checkpoint_now),
            "job deleted": (1, self._delete),
        }

    def next_pause_s(self) -> float:
        """How long to wait for the next fault."""
        return self._chance.uniform(*PAUSE_S)

    def strike(self) -> None:
        """Begin one fault, in a thread of its own."""
        names = list(self._menu)
        [name] = self._chance.choices(names, [self._menu[one][0] for one in names])
        # Each has a generator of its own: how long one thread takes changes nothing for the others.
        chance = random.Random(self._chance.random())
        self._under_way = [one for one in self._under_way if not one.done()]
        self._under_way.append(self._pool.submit(self._make, name, chance))

    def stop(self) -> None:
        """Begin no more, and wait until those under way are undone."""
        self._stopping.set()
        for one in self._under_way:
            one.result(300)
        self._pool.shutdown()

    def _make(self, name: str, chance: random.Random) -> None:
        try:
            made = self._menu[name][1](chance)
        except _TROUBLE as error:
            say(f"{name}: not made: {str(error).splitlines()[0][:140] if str(error) else error!r}")
            made = False
        (self.counts if made else self.refused)[name] += 1

    def _run(self, chance: random.Random) -> Run | None:
        running = self._fleet.running()
        return chance.choice(running) if running else None

    def _kill(self, chance: random.Random, container: str) -> bool:
        run = self._run(chance)
        pods = run.job.current_pods() if run is not None else []
        if not pods:
            return False
        machines.sigkill(self._lab.kube, chance.choice(pods), container)
        return True

    def _kill_trainer(self, chance: random.Random) -> bool:
        return self._kill(chance, "trainer")

    def _kill_sidecar(self, chance: random.Random) -> bool:
        return self._kill(chance, "holdfast-sidecar")

    def _kill_operator(self, chance: random.Random) -> bool:
        return kill_one(self._lab, chance)

    def _node_off(self, chance: random.Random) -> bool:
        if not self._node.acquire(blocking=False):
            return False
        number = chance.randint(1, len(self._lab.workers()))
        try:
            faults.power_off(self._lab.kube, number)
            self._stopping.wait(chance.uniform(*NODE_AWAY_S))
        finally:
            faults.bring_back(self._lab.kube, number)
            self._node.release()
        return True

    def _bucket_away(self, chance: random.Random) -> bool:
        if not self._bucket.acquire(timeout=5):
            return False
        try:
            scale_bucket(self._lab, 0)
            self._stopping.wait(chance.uniform(*BUCKET_AWAY_S))
        finally:
            scale_bucket(self._lab, 1)
            self._bucket.release()
        return True

    def _suspend(self, chance: random.Random) -> bool:
        run = self._run(chance)
        if run is None:
            return False
        run.job.patch_spec({"suspend": True})
        try:
            self._stopping.wait(chance.uniform(*SUSPENDED_S))
        finally:
            _insist(lambda: run.job.patch_spec({"suspend": False}))
        return True

    def _checkpoint_now(self, chance: random.Random) -> bool:
        run = self._run(chance)
        if run is None:
            return False
        word = {"metadata": {"annotations": {"holdfast.dev/checkpoint-now": f"{chance.randint(0, 1 << 30)}"}}}
        self._lab.custom.patch_namespaced_custom_object(
            _GROUP, _VERSION, run.job.namespace, _PLURAL, run.job.name, word, _request_timeout=REPLY_S
        )
        return True

    def _delete(self, chance: random.Random) -> bool:
        run = self._run(chance)
        if run is None:
            return False
        self._fleet.delete(run)
        return True


def _insist(act: Callable[[], None], times: int = 5) -> None:
    """Undo a fault though the API server may be busy; an object that is gone needs no undoing."""
    for number in range(times):
        try:
            act()
        except ApiException as error:
            if error.status == 404:
                return
            if number == times - 1:
                raise
        except (HTTPError, OSError):
            if number == times - 1:
                raise
        else:
            return
        time.sleep(1)
