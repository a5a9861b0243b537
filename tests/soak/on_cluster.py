"""Faults that hit what all jobs share: operators, nodes, the API server, the bucket."""

from __future__ import annotations

import random
import threading
from collections.abc import Callable
from datetime import UTC, datetime
from typing import Any

from kubernetes.client import ApiException, CoordinationV1Api

from deploy.demo import installation, machines
from deploy.demo.lab import REPLY_S, Lab
from deploy.kind import faults
from deploy.kind.console import Problem, say
from tests.e2e.harness.operator_killer import kill_one
from tests.e2e.harness.outage import scale_bucket
from tests.e2e.harness.runs import Run
from tests.soak.hand_overs import LEASE
from tests.soak.jobs import Fleet
from tests.soak.on_jobs import insist
from tests.soak.recoveries import Ask, Recoveries

# Seconds that they last.
NODE_AWAY_S, NODE_DRAINED_S, BUCKET_AWAY_S = (20.0, 50.0), (20.0, 40.0), (10.0, 40.0)
# Longer than a Lease lasts (15 s), so that the standby takes over under a leader that wakes up again.
PAUSED_S, API_AWAY_S = (20.0, 28.0), (10.0, 30.0)
# Between the notice and the end, as for spot nodes.
NOTICE_S = 15.0

_ON_NODE_TURN_S = 60.0
# To be run in the control-plane's node, whose processes are apart from all others.
SIGNAL_API = """
for p in /proc/[0-9]*; do
  [ "$(cat "$p/comm" 2>/dev/null)" = kube-apiserver ] && kill -{name} "${{p#/proc/}}"
done
true
"""


class ClusterFaults:
    """Each method makes one fault, undoes it, and says whether it could be made."""

    def __init__(
        self, lab: Lab, fleet: Fleet, recoveries: Recoveries, bucket: threading.Lock, stopping: threading.Event
    ) -> None:
        self._lab = lab
        self._fleet = fleet
        self._recoveries = recoveries
        self._bucket = bucket
        # With one node of two away, or no API server, a second fault of a node is no other test.
        self._node = threading.Lock()
        self._stopping = stopping

    def kill_operator(self, chance: random.Random) -> bool:
        """SIGKILL to any replica."""
        led = self._leads()
        if not kill_one(self._lab, chance):
            return False
        self._recoveries.expect("operator killed", "the operator", led)
        return True

    def pause_leader(self, chance: random.Random) -> bool:
        """SIGSTOP to the leader for longer than its Lease lasts, then SIGCONT."""
        leader = self._leader()
        if leader is None:
            return False
        container = leader.spec.containers[0].name
        machines.signal(self._lab.kube, leader, container, "SIGSTOP")
        # Asked for after the signal: what the paused one renewed just before does not count.
        self._recoveries.expect("leader paused", "the operator", self._leads())
        try:
            self._stopping.wait(chance.uniform(*PAUSED_S))
        finally:
            try:
                machines.signal(self._lab.kube, leader, container, "SIGCONT")
            except Problem as problem:
                say(f"the paused leader is gone: {str(problem).splitlines()[0][:120]}")
        return True

    def delete_leader(self, _: random.Random) -> bool:
        """Delete the leader's pod; a warm standby is there."""
        leader = self._leader()
        if leader is None:
            return False
        led = self._leads()
        self._lab.core.delete_namespaced_pod(leader.metadata.name, installation.NAMESPACE, _request_timeout=REPLY_S)
        self._recoveries.expect("leader deleted", "the operator", led)
        return True

    def node_off(self, chance: random.Random) -> bool:
        """Power a node off, and on again."""
        return self._away("node off", chance, notice=False)

    def preempt(self, chance: random.Random) -> bool:
        """Say that a node will end, then power it off, as a cloud does with spot nodes."""
        return self._away("node preempted", chance, notice=True)

    def drain(self, chance: random.Random) -> bool:
        """Cordon a node and evict the pods of jobs from it, as `kubectl drain` does."""
        if not self._node.acquire(timeout=_ON_NODE_TURN_S):
            return False
        node = chance.choice(self._lab.workers())
        try:
            pods = self._pods_on(node)
            hit = self._hit(pods)
            self._lab.core.patch_node(node, {"spec": {"unschedulable": True}}, _request_timeout=REPLY_S)
            for pod in pods:
                self._evict(pod)
            self._expect("node drained", hit)
            self._stopping.wait(chance.uniform(*NODE_DRAINED_S))
        finally:
            insist(lambda: self._lab.core.patch_node(node, {"spec": {"unschedulable": None}}, _request_timeout=REPLY_S))
            self._node.release()
        return bool(hit)

    def api_away(self, chance: random.Random) -> bool:
        """Stop the API server with SIGSTOP: it takes connections and answers nobody."""
        if not self._node.acquire(timeout=_ON_NODE_TURN_S):
            return False
        try:
            signal_api(self._lab, "STOP")
            self._stopping.wait(chance.uniform(*API_AWAY_S))
        finally:
            signal_api(self._lab, "CONT")
            self._node.release()
        self._recoveries.expect("API server away", "the operator", self._leads())
        return True

    def bucket_away(self, chance: random.Random) -> bool:
        """Take the bucket's server away."""
        if not self._bucket.acquire(timeout=5):
            return False
        try:
            scale_bucket(self._lab, 0)
            self._stopping.wait(chance.uniform(*BUCKET_AWAY_S))
        finally:
            insist(lambda: scale_bucket(self._lab, 1))
            self._bucket.release()
        runs = self._fleet.running()
        self._expect("bucket away", [(run, self._fleet.goes_on(run, by_new_run=False)) for run in runs])
        return True

    def _away(self, kind: str, chance: random.Random, *, notice: bool) -> bool:
        if not self._node.acquire(timeout=_ON_NODE_TURN_S):
            return False
        number = chance.randint(1, len(self._lab.workers()))
        node = faults.worker(self._lab.kube, number)
        try:
            if notice:
                self._lab.kube.kubectl(
                    "taint", "node", node, "cloud.google.com/impending-node-termination=:NoSchedule", "--overwrite"
                )
                self._stopping.wait(NOTICE_S)
            hit = self._hit(self._pods_on(node))
            faults.power_off(self._lab.kube, number)
            self._expect(kind, hit)
            self._stopping.wait(chance.uniform(*NODE_AWAY_S))
        finally:
            insist(lambda: faults.bring_back(self._lab.kube, number))
            self._node.release()
        return True

    def _expect(self, kind: str, hit: list[tuple[Run, Ask]]) -> None:
        for run, on in hit:
            self._recoveries.expect(kind, run.job.name, on)

    def _pods_on(self, node: str) -> list[Any]:
        return [pod for run in self._fleet.running() for pod in run.job.pods() if pod.spec.node_name == node]

    def _hit(self, pods: list[Any]) -> list[tuple[Run, Ask]]:
        names = {pod.metadata.labels["holdfast.dev/job-name"] for pod in pods}
        runs = [run for run in self._fleet.running() if run.job.name in names]
        return [(run, self._fleet.goes_on(run, by_new_run=True)) for run in runs]

    def _evict(self, pod: Any) -> None:
        body = {"metadata": {"name": pod.metadata.name, "namespace": pod.metadata.namespace}}
        try:
            self._lab.core.create_namespaced_pod_eviction(
                pod.metadata.name, pod.metadata.namespace, body, _request_timeout=REPLY_S
            )
        except ApiException as error:
            # Gone by itself, or protected for the moment: a drain leaves that.
            if error.status not in (404, 429):
                raise

    def _leader(self) -> Any | None:
        holder = str(self._lease().spec.holder_identity or "").partition("_")[0]
        pods = [one for one in installation.operator_pods(self._lab) if one.metadata.deletion_timestamp is None]
        return next((one for one in pods if one.metadata.name == holder), None) if len(pods) > 1 else None

    def _lease(self) -> Any:
        leases: Any = CoordinationV1Api(self._lab.api)
        return leases.read_namespaced_lease(LEASE, installation.NAMESPACE, _request_timeout=REPLY_S)

    def _leads(self) -> Callable[[], bool]:
        """Whether somebody who is there has led since now."""
        since = datetime.now(UTC)

        def ask() -> bool:
            lease = self._lease().spec
            if lease.renew_time is None or lease.renew_time <= since:
                return False
            return self._leader_is(str(lease.holder_identity or "").partition("_")[0])

        return ask

    def _leader_is(self, name: str) -> bool:
        pods = installation.operator_pods(self._lab)
        return name in [one.metadata.name for one in pods if one.metadata.deletion_timestamp is None]


def signal_api(lab: Lab, name: str) -> None:
    """Send a signal to the API server."""
    lab.kube.docker("exec", lab.kube.nodes()[0], "sh", "-c", SIGNAL_API.format(name=name))
