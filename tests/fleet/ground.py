"""The fleet as the cases see it: jobs go in, pods and where they were bound come out, by the official client."""

from __future__ import annotations

import threading
from collections import defaultdict
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import yaml
from kubernetes.client import ApiClient, ApiException, ApiextensionsV1Api, CoreV1Api, CustomObjectsApi
from kubernetes.config import new_client_from_config

from holdfast.api import labels as names
from tests.e2e.harness.waiting import until

GROUP, VERSION, PLURAL = "holdfast.dev", "v1alpha1", "trainingjobs"
POOL = "cloud.google.com/gke-nodepool"
REPLY_S = 15
_CRDS = Path(__file__).resolve().parents[2] / "crds"

Fields = dict[str, Any]


@dataclass
class Bindings:
    """Every pod with chips that was seen bound and not ended, by node pool, and pools that two owners held at once.

    A thread looks at all pods several times a second: what is shared for less than that goes unseen.
    """

    core: Any
    pools: Mapping[str, str]
    shared: list[str] = field(default_factory=list)

    def __post_init__(self) -> None:
        self._over = threading.Event()
        self._thread = threading.Thread(target=self._look, name="bindings", daemon=True)
        self._thread.start()

    def stop(self) -> None:
        self._over.set()
        self._thread.join()

    def _look(self) -> None:
        while not self._over.wait(0.2):
            try:
                pods = self.core.list_pod_for_all_namespaces(_request_timeout=REPLY_S).items
            except ApiException:
                continue
            held: dict[str, set[str]] = defaultdict(set)
            for pod in pods:
                pool = self.pools.get(pod.spec.node_name or "", "")
                labels = pod.metadata.labels or {}
                if pool.startswith("v") and names.JOB_UID in labels and pod.status.phase in ("Pending", "Running"):
                    held[pool].add(f"{labels[names.JOB_NAME]}/{labels[names.SLICE]}")
            self.shared += [f"{pool}: {sorted(who)}" for pool, who in held.items() if len(who) > 1]


class Ground:
    """One namespace of the fleet."""

    def __init__(self, kubeconfig: Path, namespace: str) -> None:
        self.api: ApiClient = new_client_from_config(config_file=str(kubeconfig))
        self.core: Any = CoreV1Api(self.api)
        self.custom: Any = CustomObjectsApi(self.api)
        self.namespace = namespace
        nodes: Any = self.core.list_node(_request_timeout=REPLY_S)
        self.pools: dict[str, str] = {node.metadata.name: node.metadata.labels[POOL] for node in nodes.items}

    def install(self) -> None:
        """Create the kinds."""
        extensions: Any = ApiextensionsV1Api(self.api)
        for path in sorted(_CRDS.glob("*.yaml")):
            body = yaml.safe_load(path.read_text())
            # The answer is not read: its status has no conditions yet.
            extensions.create_custom_resource_definition(body, _request_timeout=REPLY_S, _preload_content=False)
        until("the kind is served", lambda: self.jobs() is not None, within_s=30)

    def create_namespace(self, name: str) -> None:
        """Create a namespace and wait until pods can be made in it."""
        self.core.create_namespace({"metadata": {"name": name}}, _request_timeout=REPLY_S)
        until(
            f"{name} has its service account",
            lambda: self.core.read_namespaced_service_account("default", name, _request_timeout=REPLY_S),
            within_s=30,
        )

    def apply(self, name: str, accelerator: Fields, **pod: Any) -> None:
        """Create a job without checkpoints: simulated pods write none."""
        spec = {
            "accelerator": accelerator,
            "runtime": {"framework": "JAX"},
            "template": {"spec": {"containers": [{"name": "trainer", "image": "trainer:1"}], **pod}},
        }
        body = {"apiVersion": f"{GROUP}/{VERSION}", "kind": "TrainingJob", "metadata": {"name": name}, "spec": spec}
        self.custom.create_namespaced_custom_object(
            GROUP, VERSION, self.namespace, PLURAL, body, field_validation="Strict", _request_timeout=REPLY_S
        )

    def delete(self, name: str) -> None:
        """Delete a job and wait until its pods are gone."""
        self.custom.delete_namespaced_custom_object(
            GROUP, VERSION, self.namespace, PLURAL, name, _request_timeout=REPLY_S
        )
        until(f"the pods of {name} are gone", lambda: not self.pods(name), within_s=60, explain=lambda: self.tell(name))

    def jobs(self) -> list[Fields]:
        """Return all jobs."""
        listed = self.custom.list_namespaced_custom_object(
            GROUP, VERSION, self.namespace, PLURAL, _request_timeout=REPLY_S
        )
        return list(listed["items"])

    def status(self, name: str) -> Fields:
        """Return the status of a job."""
        job = self.custom.get_namespaced_custom_object(
            GROUP, VERSION, self.namespace, PLURAL, name, _request_timeout=REPLY_S
        )
        return dict(job.get("status") or {})

    def pods(self, name: str) -> list[Any]:
        """Return the pods of a job."""
        selector = f"{names.JOB_NAME}={name}"
        listed = self.core.list_namespaced_pod(self.namespace, label_selector=selector, _request_timeout=REPLY_S)
        return list(listed.items)

    def wait_for_phase(self, name: str, phase: str, within_s: float = 60) -> Fields:
        """Wait until the job is in the phase and return its status."""
        return until(
            f"{name} is {phase}",
            lambda: status if (status := self.status(name)).get("phase") == phase else None,
            within_s=within_s,
            explain=lambda: self.tell(name),
        )

    def slices(self, name: str) -> dict[int, list[str]]:
        """Return the nodes of the bound pods of each slice, host by host."""
        found: dict[int, dict[int, str]] = defaultdict(dict)
        for pod in self.pods(name):
            labels = pod.metadata.labels
            if pod.spec.node_name:
                found[int(labels[names.SLICE])][int(labels[names.HOST])] = pod.spec.node_name
        return {number: [hosts[host] for host in sorted(hosts)] for number, hosts in sorted(found.items())}

    def pools_of(self, name: str) -> dict[int, str]:
        """Return the pool of every slice; each has all hosts of the pool, and each host once."""
        found = {}
        for number, nodes in self.slices(name).items():
            pools = {self.pools[node] for node in nodes}
            assert len(pools) == 1, f"slice {number} of {name} is spread over {sorted(pools)}"
            [pool] = pools
            assert sorted(nodes) == sorted(node for node, of in self.pools.items() if of == pool), (number, nodes)
            found[number] = pool
        return found

    def take(self, node: str, name: str) -> None:
        """Put a pod that Holdfast did not make on a node, past the scheduler, holding all its chips."""
        limits = {"google.com/tpu": "4"}
        spec = {
            "nodeName": node,
            "tolerations": [{"operator": "Exists"}],
            "containers": [{"name": "main", "image": "theirs:1", "resources": {"limits": limits, "requests": limits}}],
        }
        manifest = {"metadata": {"name": name}, "spec": spec}
        self.core.create_namespaced_pod(self.namespace, manifest, _request_timeout=REPLY_S)

    def tell(self, name: str) -> str:
        """Return what is known of a job, for the message of a failure."""
        pods = [
            f"  {pod.metadata.name} on {pod.spec.node_name}, {pod.status.phase}, "
            f"{[c.message for c in pod.status.conditions or [] if c.status == 'False']}"
            for pod in self.pods(name)
        ]
        return "\n".join([yaml.safe_dump(self.status(name)), *pods])
