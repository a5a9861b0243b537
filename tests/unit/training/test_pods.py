"""The objects of an attempt: order and identity of what is added, rendezvous, placement."""

from __future__ import annotations

import json
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from holdfast.api.accelerator import V5P_MAX_CHIPS
from holdfast.api.trainingjob import CHIPS_PER_HOST, MAX_VARIABLE_BYTES
from holdfast.planning.observed import Observed
from holdfast.planning.slots import Slot
from holdfast.training import pods
from holdfast.training.plan import plan
from holdfast.training.pools import NODE_POOL
from holdfast.training.rendezvous import jax, tpu
from holdfast.training.view import View, look
from tests.unit.training import builders as b


def view(seen: Observed | None = None, **spec: Any) -> View:
    seen = seen or b.observed(b.job(b.attempt_status(), **spec))
    assert seen.object is not None
    return look(seen, seen.object, b.NOW)


def environment(container: dict[str, Any]) -> dict[str, str]:
    return {item["name"]: item.get("value", "") for item in container.get("env", [])}


def test_the_pod_has_restore_then_sidecar_then_the_templates_own() -> None:
    template = {
        "metadata": {"labels": {"team": "ml"}, "annotations": {"a": "b"}},
        "spec": {
            "initContainers": [{"name": "mine", "image": "i"}],
            "containers": [{"name": "trainer", "image": "t"}, {"name": "logger", "image": "l"}],
            "volumes": [{"name": "data", "emptyDir": {}}],
        },
    }
    manifest = pods.pod(view(template=template), Slot(0, 1), 3)
    spec = manifest["spec"]
    assert [c["name"] for c in spec["initContainers"]] == ["holdfast-restore", "holdfast-sidecar", "mine"]
    assert spec["initContainers"][1]["restartPolicy"] == "Always"
    assert spec["initContainers"][1]["lifecycle"]["preStop"]["exec"]["command"] == ["holdfast-sidecar", "flush"]
    assert spec["restartPolicy"] == "Never"
    assert spec["terminationGracePeriodSeconds"] == 600
    assert [v["name"] for v in spec["volumes"]] == ["data", "holdfast-volume", "holdfast-run", "holdfast-token"]
    assert manifest["metadata"]["labels"]["team"] == "ml"
    assert manifest["metadata"]["annotations"]["cluster-autoscaler.kubernetes.io/safe-to-evict"] == "false"
    trainer, logger = spec["containers"]
    assert {"name": "holdfast-volume", "mountPath": "/checkpoints", "subPath": "data/3"} in trainer["volumeMounts"]
    assert "volumeMounts" not in logger
    told = environment(trainer)
    assert told["HOLDFAST_CHECKPOINT_DIR"] == "/checkpoints"
    assert (told["HOLDFAST_ATTEMPT"], told["HOLDFAST_SLOT"], told["HOLDFAST_EVERY_STEPS"]) == ("3", "0-1", "100")


def test_the_sidecar_knows_its_run_and_its_bucket() -> None:
    manifest = pods.pod(view(), Slot(0, 1), 3)
    told = environment(manifest["spec"]["initContainers"][1])
    config = json.loads(told["HOLDFAST_CONFIG"])
    assert (config["namespace"], config["job"], config["jobUid"], config["attempt"]) == ("team", "digits", b.UID, 3)
    assert (config["slot"], config["parts"], config["destination"]) == ("0-1", 2, "gs://bucket/run")
    assert told["STORAGE_EMULATOR_HOST"] == "http://bucket:4443"
    assert told["HOLDFAST_CA_PEM"] == "PEM"


def test_the_same_restore_order_has_the_same_digest_and_another_one_has_not() -> None:
    one = view().spec.checkpoint
    step = view(checkpoint={"destination": "gs://bucket/p", "restore": {"policy": "Step", "step": 100}}).spec.checkpoint
    assert one is not None
    assert step is not None
    assert pods.order_digest(one) == pods.order_digest(one)
    assert pods.order_digest(one) != pods.order_digest(step)


@pytest.mark.parametrize(
    ("context", "user", "added"),
    [
        ({"runAsUser": 1000, "runAsGroup": 1000}, 1000, None),
        ({}, 0, ["CHOWN", "DAC_OVERRIDE", "FOWNER"]),
        ({"runAsUser": 0}, 0, ["CHOWN", "DAC_OVERRIDE", "FOWNER"]),
    ],
)
def test_what_is_added_runs_as_the_trainer_or_as_a_bound_root(
    context: dict[str, int], user: int, added: list[str] | None
) -> None:
    template = {"spec": {"securityContext": context, "containers": [{"name": "trainer", "image": "t"}]}}
    own = pods.pod(view(template=template), Slot(0, 0), 1)["spec"]["initContainers"][0]["securityContext"]
    assert own["runAsUser"] == user
    assert own["capabilities"].get("add") == added
    assert own["capabilities"]["drop"] == ["ALL"]
    assert own["readOnlyRootFilesystem"] is True
    assert own["allowPrivilegeEscalation"] is False


def test_jax_workers_meet_at_worker_0_on_a_port_of_the_attempt() -> None:
    manifest = pods.pod(view(), Slot(0, 1), 2)
    told = environment(manifest["spec"]["containers"][0])
    assert told["JAX_COORDINATOR_ADDRESS"] == "digits-0-0.digits:8478"
    assert (told["JAX_NUM_PROCESSES"], told["JAX_PROCESS_ID"]) == ("2", "1")
    assert told["JAX_ENABLE_PREEMPTION_SERVICE"] == "0"
    assert manifest["spec"]["subdomain"] == "digits"
    far = environment(pods.pod(view(), Slot(0, 1), 258)["spec"]["containers"][0])
    assert far["JAX_COORDINATOR_ADDRESS"].endswith(":8478"), "the port wraps after 256 attempts"


def test_a_default_of_the_rendezvous_yields_to_the_template() -> None:
    own = [{"name": "JAX_ENABLE_PREEMPTION_SERVICE", "value": "1"}]
    template = {"spec": {"containers": [{"name": "trainer", "image": "t", "env": own}]}}
    trainer = pods.pod(view(template=template), Slot(0, 0), 1)["spec"]["containers"][0]
    assert [item for item in trainer["env"] if item["name"] == "JAX_ENABLE_PREEMPTION_SERVICE"] == own


def test_the_service_names_only_this_attempt_before_it_is_ready() -> None:
    service = pods.service(view(), 4)
    assert service["spec"]["clusterIP"] == "None"
    assert service["spec"]["publishNotReadyAddresses"] is True
    assert service["spec"]["selector"] == {"holdfast.dev/job-uid": b.UID, "holdfast.dev/attempt": "4"}


TPU = {"tpu": {"generation": "v6e", "topology": "4x4"}}
SELECTOR = {"cloud.google.com/gke-tpu-accelerator": "tpu-v6e-slice", "cloud.google.com/gke-tpu-topology": "4x4"}


def test_hosts_of_a_tpu_slice_get_chips_selectors_and_each_other() -> None:
    spec = pods.pod(view(accelerator=TPU), Slot(0, 2), 1)["spec"]
    trainer = spec["containers"][0]
    assert trainer["resources"]["limits"] == {"google.com/tpu": "4"}
    assert trainer["resources"]["requests"] == {"google.com/tpu": "4"}
    assert spec["nodeSelector"] == SELECTOR
    assert {"key": "google.com/tpu", "operator": "Exists", "effect": "NoSchedule"} in spec["tolerations"]
    told = environment(trainer)
    assert told["TPU_WORKER_ID"] == "2"
    assert told["TPU_WORKER_HOSTNAMES"] == ",".join(f"digits-0-{host}.digits" for host in range(4))


def test_hosts_of_several_slices_know_their_slice_and_meet_at_the_first() -> None:
    many = view(accelerator={"tpu": {**TPU["tpu"], "slices": 3}})
    told = environment(pods.pod(many, Slot(2, 1), 5)["spec"]["containers"][0])
    assert told == {
        **{name: value for name, value in told.items() if name.startswith("HOLDFAST_")},
        "TPU_WORKER_ID": "1",
        "TPU_WORKER_HOSTNAMES": ",".join(f"digits-2-{host}.digits" for host in range(4)),
        "MEGASCALE_COORDINATOR_ADDRESS": "digits-0-0.digits",
        "MEGASCALE_PORT": "8085",
        "MEGASCALE_NUM_SLICES": "3",
        "MEGASCALE_SLICE_ID": "2",
        "JAX_COORDINATOR_ADDRESS": "digits-0-0.digits:8481",
        "JAX_NUM_PROCESSES": "12",
        "JAX_PROCESS_ID": "9",
        "JAX_ENABLE_PREEMPTION_SERVICE": "0",
    }
    one = environment(pods.pod(view(accelerator=TPU), Slot(0, 1), 5)["spec"]["containers"][0])
    assert not [name for name in one if name.startswith("MEGASCALE")]


@pytest.mark.parametrize("name", ["a", "a" * 24])
def test_the_names_of_all_hosts_that_the_api_server_lets_through_fit_one_variable(name: str) -> None:
    """The largest slice there is; admission holds names of 25 and more letters off it."""
    hosts = V5P_MAX_CHIPS // CHIPS_PER_HOST
    addresses = [f"{Slot(63, host).hostname(name)}.{name}" for host in range(hosts)]
    value = tpu.environment(addresses, 0)["TPU_WORKER_HOSTNAMES"]
    assert len(value) < len(addresses) * (2 * len(name) + 10) <= MAX_VARIABLE_BYTES


@given(st.integers(1, 10**6), st.integers(1, 255))
def test_no_port_is_used_again_for_256_attempts(attempt: int, later: int) -> None:
    """JAX's ports and those of the slices' coordinator never meet, and keep off those that libtpu listens on."""
    for port in (jax.port, tpu.megascale_port):
        assert port(attempt) != port(attempt + later)
        assert port(attempt) == port(attempt + 256)
        assert port(attempt) not in {8353, *range(8431, 8472)}
    assert jax.port(attempt) not in range(8080, 8080 + 256)


GPU = {"gpu": {"type": "nvidia-h100-80gb", "perWorker": 8, "workers": 2}}


def test_workers_with_gpus_get_them_and_meet_as_on_processors() -> None:
    spec = pods.pod(view(accelerator=GPU), Slot(0, 1), 2)["spec"]
    trainer = spec["containers"][0]
    assert trainer["resources"] == {"requests": {"nvidia.com/gpu": "8"}, "limits": {"nvidia.com/gpu": "8"}}
    assert spec["nodeSelector"] == {"cloud.google.com/gke-accelerator": "nvidia-h100-80gb"}
    assert {"key": "nvidia.com/gpu", "operator": "Exists", "effect": "NoSchedule"} in spec["tolerations"]
    told = environment(trainer)
    plain = environment(pods.pod(view(), Slot(0, 1), 2)["spec"]["containers"][0])
    assert {name: told[name] for name in told if not name.startswith("HOLDFAST_")} == {
        name: plain[name] for name in plain if not name.startswith("HOLDFAST_")
    }
    assert "affinity" in spec, "on demand keeps off Spot nodes"


def test_on_demand_work_keeps_off_spot_nodes_in_every_alternative() -> None:
    terms = [{"matchExpressions": [{"key": "zone", "operator": "In", "values": ["a"]}]}, {}]
    affinity = {"nodeAffinity": {"requiredDuringSchedulingIgnoredDuringExecution": {"nodeSelectorTerms": terms}}}
    template = {"spec": {"affinity": affinity, "containers": [{"name": "trainer", "image": "t"}]}}
    spec = pods.pod(view(template=template), Slot(0, 0), 1)["spec"]
    required = spec["affinity"]["nodeAffinity"]["requiredDuringSchedulingIgnoredDuringExecution"]
    last = [term["matchExpressions"][-1] for term in required["nodeSelectorTerms"]]
    assert last == [{"key": "cloud.google.com/gke-spot", "operator": "DoesNotExist"}] * 2
    spot = pods.pod(view(capacity={"mode": "Spot"}), Slot(0, 0), 1)["spec"]
    assert spot["nodeSelector"] == {"cloud.google.com/gke-spot": "true"}


def pool(name: str, count: int) -> dict[str, Any]:
    labels = {**SELECTOR, NODE_POOL: name}
    return {f"{name}-{number}": b.node(f"{name}-{number}", labels=labels) for number in range(count)}


def starting(**more: Any) -> Observed:
    job = b.job(b.attempt_status(created=False, phase="Starting"), accelerator=TPU)
    return b.observed(job, *more.pop("pods", ()), service=b.service(), **more)


def test_a_slice_of_several_hosts_gets_a_whole_free_pool() -> None:
    nodes = {**pool("small", 3), **pool("taken", 4), **pool("whole", 4)}
    result = plan(starting(nodes=nodes, occupied_pools={"taken": "pod team/x"}), b.NOW)
    chosen = {spec["nodeSelector"][NODE_POOL] for spec in b.created_specs(result)}
    assert chosen == {"whole"}
    assert len(result.actions) == 4


def test_where_no_pool_is_free_host_0_leads_and_the_others_follow() -> None:
    first = plan(starting(nodes={}), b.NOW)
    assert b.created(first) == ["digits-0-0-1"]
    [leader] = b.created_specs(first)
    terms = leader["affinity"]["podAntiAffinity"]["requiredDuringSchedulingIgnoredDuringExecution"]
    assert terms[0]["topologyKey"] == NODE_POOL
    bound = plan(starting(nodes=pool("new", 4), pods=(b.pod(0, node="new-0", phase="Pending"),)), b.NOW)
    assert b.created(bound) == ["digits-0-1-1", "digits-0-2-1", "digits-0-3-1"]
    assert {spec["nodeSelector"][NODE_POOL] for spec in b.created_specs(bound)} == {"new"}


def test_followers_are_waited_for_with_a_reason() -> None:
    unbound = b.running(0, node="", phase="Running")
    waited = plan(starting(nodes={}, pods=(unbound,)), b.NOW)
    assert waited.waiting == "AwaitingNodePool"
