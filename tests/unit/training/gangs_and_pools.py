"""A small world of node pools, jobs and strangers: the real planner and occupancy, and the scheduler of the tests."""

from __future__ import annotations

import json
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from datetime import datetime, timedelta
from typing import Any

import msgspec

from holdfast.api import labels as names
from holdfast.app.pools import STRANGER, PoolOccupancy
from holdfast.app.watched import identify
from holdfast.cluster.cache import Cache
from holdfast.planning.observed import CustomObject, DryRunResult, Metadata, Node, Observed, Pod, PodSpec
from holdfast.planning.plan import PODS, Create, Delete, Plan
from holdfast.training.plan import plan
from holdfast.training.pools import NODE_POOL
from tests.support.scheduler import Host, first_fit
from tests.unit.training import builders as b

HOSTS = 2
TPU = {"generation": "v6e", "topology": "2x4"}
KIND = {
    "cloud.google.com/gke-tpu-accelerator": "tpu-v6e-slice",
    "cloud.google.com/gke-tpu-topology": "2x4",
    "cloud.google.com/gke-accelerator-count": "4",
}


@dataclass
class World:
    """Time moves only by `wait`. Every pass of a job sees everything that has happened."""

    now: datetime = b.NOW
    jobs: dict[str, CustomObject] = field(default_factory=dict)
    pods: dict[str, dict[str, Any]] = field(default_factory=dict)
    strangers: dict[str, str] = field(default_factory=dict)
    waits: dict[str, tuple[str, datetime]] = field(default_factory=dict)
    nodes: Cache[Node] = field(default_factory=lambda: Cache(identify))

    def __post_init__(self) -> None:
        self.pools = PoolOccupancy(self.nodes)
        self.serial = 0

    # What happens.

    def add_pool(self, name: str, count: int = HOSTS) -> None:
        for number in range(count):
            host = f"{name}-{number}"
            self.nodes.upsert(b.node(host, labels={**KIND, NODE_POOL: name, "kubernetes.io/hostname": host}))

    def add_job(self, name: str, slices: int, **pod: Any) -> None:
        template = {"spec": {"containers": [{"name": "trainer", "image": "trainer:1"}], **pod}}
        spec = b.spec(accelerator={"tpu": {**TPU, "slices": slices}}, checkpoint=None, template=template)
        document = {"metadata": {"name": name, "namespace": "team", "uid": f"uid-{name}"}, "spec": spec}
        self.jobs[name] = msgspec.json.decode(json.dumps(document), type=CustomObject)

    def end_job(self, name: str) -> None:
        self.jobs.pop(name)
        for pod in [pod for pod in self.pods if self.pods[pod]["metadata"]["labels"][names.JOB_NAME] == name]:
            self._forget(pod)
        self.pools.plan(("team", name), ())

    def stranger(self, node: str) -> None:
        if node not in self.taken():
            self.strangers[node] = node
            self.pools.saw((STRANGER, f"x/{node}"), self._holder(node), gone=False)

    def stranger_leaves(self, node: str) -> None:
        if self.strangers.pop(node, None):
            self.pools.saw((STRANGER, f"x/{node}"), self._holder(node), gone=True)

    def wait(self, seconds: float) -> None:
        self.now += timedelta(seconds=seconds)

    def restart_operator(self) -> None:
        """Another replica leads: it knows pods, nodes and jobs, and nothing that was only planned or waited for."""
        self.pools.forget_plans()
        self.waits.clear()

    def reconcile(self, name: str, creates: int = 10**6) -> Plan:
        """Make a pass; the operator dies after `creates` pods have been created."""
        seen = self.observe(name)
        result = plan(seen, self.now)
        planned = (action for action in result.actions if isinstance(action, Create) and action.resource == PODS)
        pinned = {action.manifest["spec"].get("nodeSelector", {}).get(NODE_POOL, "") for action in planned} - {""}
        self.pools.plan(("team", name), pinned | set(result.claims))
        self._carry_out(name, result, creates)
        if not result.waiting:
            self.waits.pop(name, None)
        elif self.waits.get(name, ("",))[0] != result.waiting:
            self.waits[name] = (result.waiting, self.now)
        return result

    def settle(self, name: str, passes: int = 8) -> None:
        for _ in range(passes):
            self.reconcile(name)

    def bind(self, pod: str) -> bool:
        """Let the scheduler put one pod on the first node that takes it."""
        document = self.pods[pod]
        if document["spec"].get("nodeName"):
            return False
        hosts = [
            Host(node.metadata.name, node.metadata.labels, node.spec.unschedulable) for node in self.nodes.values()
        ]
        strangers = [{"metadata": {}, "spec": {"nodeName": node}} for node in self.strangers]
        bound = [other for other in self.pods.values() if other["spec"].get("nodeName")]
        node = first_fit(document, hosts, [*strangers, *bound])
        if node is not None:
            document["spec"]["nodeName"] = node
            self._show(document)
        return node is not None

    # What is seen.

    def observe(self, name: str) -> Observed:
        own = [_pod(document) for document in self.pods.values() if _job(document) == name]
        # The Service exists always and for every attempt: it is not what this is about.
        service = b.service(attempt=10**6, uid=f"uid-{name}")
        return Observed(
            namespace="team",
            name=name,
            settings=b.SETTINGS,
            object=self.jobs[name],
            pods=tuple(own),
            service=service,
            nodes={node.metadata.name: node for node in self.nodes.values()},
            dry_run=DryRunResult(f"uid-{name}/0"),
            waiting=self.waits.get(name),
            refreshed_at=self.now,
            occupied_pools=self.pools.occupied_by_others(("team", name)),
        )

    def taken(self) -> set[str]:
        return {*self.strangers, *(d["spec"]["nodeName"] for d in self.pods.values() if d["spec"].get("nodeName"))}

    def pools_of(self, name: str) -> dict[int, set[str]]:
        """Return the pools in which pods of each slice of the job are pinned or bound."""
        found: dict[int, set[str]] = {}
        for document in self.pods.values():
            if _job(document) == name and (pool := self._pool(document)):
                found.setdefault(int(document["metadata"]["labels"][names.SLICE]), set()).add(pool)
        return found

    def bound(self) -> Iterator[tuple[str, tuple[str, str]]]:
        """Yield the pool and the slice of every pod that is bound."""
        for document in self.pods.values():
            if node := document["spec"].get("nodeName"):
                labels = document["metadata"]["labels"]
                yield self._pool_of_node(node), (labels[names.JOB_NAME], labels[names.SLICE])

    # Inside.

    def _carry_out(self, name: str, result: Plan, creates: int) -> None:
        if result.write_ahead is not None:
            self._write(name, result.write_ahead.wanted)
        for action in result.actions:
            if isinstance(action, Create) and action.resource == PODS and creates > 0:
                creates -= 1
                self.serial += 1
                document = json.loads(json.dumps(action.manifest))
                document["metadata"]["uid"] = f"pod-{self.serial}"
                document["metadata"]["ownerReferences"][0]["uid"] = f"uid-{name}"
                self.pods[document["metadata"]["name"]] = document
                self._show(document)
            elif isinstance(action, Delete):
                self._forget(action.name)
        if result.status is not None and creates > 0:
            self._write(name, result.status.wanted)

    def _write(self, name: str, status: Mapping[str, Any]) -> None:
        self.jobs[name] = msgspec.structs.replace(self.jobs[name], status=dict(status))

    def _show(self, document: dict[str, Any]) -> None:
        self.pools.saw(("team", _job(document)), _pod(document), gone=False)

    def _forget(self, pod: str) -> None:
        document = self.pods.pop(pod)
        self.pools.saw(("team", _job(document)), _pod(document), gone=True)

    def _holder(self, node: str) -> Pod:
        selector = {"cloud.google.com/gke-tpu-accelerator": ""}
        return Pod(metadata=Metadata(uid=f"x-{node}"), spec=PodSpec(node_name=node, node_selector=selector))

    def _pool_of_node(self, name: str) -> str:
        node = self.nodes.get("", name)
        return node.metadata.labels[NODE_POOL] if node else ""

    def _pool(self, document: dict[str, Any]) -> str:
        pinned: str = (document["spec"].get("nodeSelector") or {}).get(NODE_POOL, "")
        return pinned or self._pool_of_node(document["spec"].get("nodeName", ""))


def _job(document: dict[str, Any]) -> str:
    return str(document["metadata"]["labels"][names.JOB_NAME])


def _pod(document: dict[str, Any]) -> Pod:
    return msgspec.json.decode(json.dumps(document), type=Pod)
