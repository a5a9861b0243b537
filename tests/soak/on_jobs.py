"""Faults that hit one job: its containers, its pods, its object."""

from __future__ import annotations

import random
import threading
import time
from collections.abc import Callable

from kubernetes.client import ApiException
from urllib3.exceptions import HTTPError

from deploy.demo import machines
from deploy.demo.lab import REPLY_S, Lab
from tests.e2e.harness.runs import Run
from tests.soak.jobs import Fleet
from tests.soak.recoveries import Recoveries

SUSPENDED_S = (5.0, 30.0)
_GROUP, _VERSION, _PLURAL = "holdfast.dev", "v1alpha1", "trainingjobs"


class JobFaults:
    """Each method makes one fault, and says whether it could be made."""

    def __init__(self, lab: Lab, fleet: Fleet, recoveries: Recoveries, stopping: threading.Event) -> None:
        self._lab = lab
        self._fleet = fleet
        self._recoveries = recoveries
        self._stopping = stopping

    def kill_trainer(self, chance: random.Random) -> bool:
        """SIGKILL to a trainer."""
        return self._kill("trainer killed", chance, "trainer", by_new_run=True)

    def kill_sidecar(self, chance: random.Random) -> bool:
        """SIGKILL to a sidecar; its job goes on."""
        return self._kill("sidecar killed", chance, "holdfast-sidecar", by_new_run=False)

    def delete_pod(self, chance: random.Random) -> bool:
        """Delete a pod, as people do."""
        run = self._run(chance)
        pods = run.job.current_pods() if run is not None else []
        if run is None or not pods:
            return False
        on = self._fleet.goes_on(run, by_new_run=True)
        pod = chance.choice(pods)
        self._lab.core.delete_namespaced_pod(pod.metadata.name, self._fleet.namespace, _request_timeout=REPLY_S)
        self._recoveries.expect("pod deleted", run.job.name, on)
        return True

    def suspend(self, chance: random.Random) -> bool:
        """Suspend a job, and resume it."""
        run = self._run(chance)
        if run is None:
            return False
        run.job.patch_spec({"suspend": True})
        try:
            self._stopping.wait(chance.uniform(*SUSPENDED_S))
        finally:
            insist(lambda: run.job.patch_spec({"suspend": False}))
        self._recoveries.expect("suspended", run.job.name, self._fleet.goes_on(run, by_new_run=False))
        return True

    def checkpoint_now(self, chance: random.Random) -> bool:
        """Ask for a checkpoint."""
        run = self._run(chance)
        if run is None:
            return False
        on = self._fleet.goes_on(run, by_new_run=False)
        word = {"metadata": {"annotations": {"holdfast.dev/checkpoint-now": f"{chance.randint(0, 1 << 30)}"}}}
        self._lab.custom.patch_namespaced_custom_object(
            _GROUP, _VERSION, run.job.namespace, _PLURAL, run.job.name, word, _request_timeout=REPLY_S
        )
        self._recoveries.expect("checkpoint asked for", run.job.name, on)
        return True

    def apply_again(self, chance: random.Random) -> bool:
        """Delete an endless job and apply it again on the same prefix, at once: its old pods may still be there."""
        run = self._run(chance, endless=True)
        if run is None:
            return False
        on = self._fleet.goes_on(run, by_new_run=True, applied_again=True)
        self._fleet.delete(run, again_at_once=True)
        self._recoveries.expect("deleted, applied again", run.job.name, on)
        return True

    def _kill(self, kind: str, chance: random.Random, container: str, *, by_new_run: bool) -> bool:
        run = self._run(chance)
        pods = run.job.current_pods() if run is not None else []
        if run is None or not pods:
            return False
        on = self._fleet.goes_on(run, by_new_run=by_new_run)
        machines.sigkill(self._lab.kube, chance.choice(pods), container)
        self._recoveries.expect(kind, run.job.name, on)
        return True

    def _run(self, chance: random.Random, *, endless: bool = False) -> Run | None:
        running = self._fleet.running(endless_only=endless)
        return chance.choice(running) if running else None


def insist(act: Callable[[], object], times: int = 5) -> None:
    """Undo a fault though the API server may be busy or away; an object that is gone needs no undoing."""
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
        time.sleep(2)
