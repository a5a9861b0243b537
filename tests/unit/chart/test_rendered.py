"""What the chart installs: two replicas apart, just enough rights, and CRDs that are the generated ones."""

from __future__ import annotations

import json
from typing import Any

import pytest
import yaml

from deploy.chart import GENERATED, ROOT, stale
from holdfast.app import settings
from holdfast.cluster.lease import LEASES
from holdfast.planning.plan import CLAIMS, EVENTS, NODES, PODS, SERVICES, STORAGE_CLASSES, TRAINING_JOBS, Resource
from tests.unit.chart.rendering import Fields, only, render


def pod(documents: list[Fields]) -> Fields:
    template: Fields = only(documents, "Deployment")["spec"]["template"]
    return template


def environment(documents: list[Fields]) -> dict[str, Any]:
    """The operator's environment as a pod has it; what the pod itself fills in gets a likely value."""
    filled = {
        "metadata.namespace": "holdfast-system",
        "metadata.name": "holdfast-operator-1",
        "status.podIP": "10.0.0.7",
    }
    variables = pod(documents)["spec"]["containers"][0]["env"]
    return {
        one["name"]: one["value"] if "value" in one else filled[one["valueFrom"]["fieldRef"]["fieldPath"]]
        for one in variables
    }


def test_the_copies_of_the_crds_are_the_generated_ones() -> None:
    assert stale() == []


def test_the_crds_are_rendered_unchanged_and_outlive_the_release() -> None:
    rendered = {one["metadata"]["name"]: one for one in render() if one["kind"] == "CustomResourceDefinition"}
    generated = [yaml.safe_load(path.read_text()) for path in sorted(GENERATED.glob("*.yaml"))]
    assert sorted(rendered) == sorted(one["metadata"]["name"] for one in generated)
    for one in generated:
        twin = rendered[one["metadata"]["name"]]
        assert twin["spec"] == one["spec"]
        assert twin["metadata"]["annotations"]["helm.sh/resource-policy"] == "keep"


def test_the_crds_can_be_left_to_others() -> None:
    assert not [one for one in render(crds={"install": False}) if one["kind"] == "CustomResourceDefinition"]


def test_the_operator_understands_its_environment() -> None:
    documents = render(
        sidecar={"env": {"STORAGE_EMULATOR_HOST": "http://bucket:4443"}}, workers=3, logLevel="DEBUG",
        image={"repository": "localhost/holdfast", "tag": "abc"},
    )  # fmt: skip
    parsed = settings.from_environment(environment(documents))
    assert parsed.namespace == "holdfast-system"
    assert parsed.sidecar_image == "localhost/holdfast:abc"
    assert parsed.sidecar_environment == {"STORAGE_EMULATOR_HOST": "http://bucket:4443"}
    assert (parsed.workers, parsed.log_level) == (3, "DEBUG")
    assert parsed.report_url == "https://holdfast-operator.holdfast-system.svc:8443"
    assert only(documents, "Service", parsed.report_service)
    assert parsed.identity == "holdfast-operator-1_10.0.0.7"


def test_the_service_leads_to_the_ports_that_the_operator_opens() -> None:
    documents = render()
    parsed = settings.from_environment(environment(documents))
    ports = {one["name"]: one["containerPort"] for one in pod(documents)["spec"]["containers"][0]["ports"]}
    assert ports == {"reports": parsed.report_port, "http": parsed.http_port}
    service = only(documents, "Service")["spec"]
    assert {one["port"]: ports[one["targetPort"]] for one in service["ports"]} == {8443: 8443, 8080: 8080}
    labels = pod(documents)["metadata"]["labels"]
    assert service["selector"].items() <= labels.items()


def test_a_sidecar_of_its_own() -> None:
    parsed = settings.from_environment(environment(render(sidecar={"image": "registry.example/sidecar:1"})))
    assert parsed.sidecar_image == "registry.example/sidecar:1"


def test_replicas_never_share_a_node_and_an_upgrade_needs_no_third() -> None:
    documents = render()
    deployment = only(documents, "Deployment")["spec"]
    assert deployment["replicas"] == 2
    assert deployment["strategy"]["rollingUpdate"] == {"maxSurge": 0, "maxUnavailable": 1}
    [apart] = pod(documents)["spec"]["affinity"]["podAntiAffinity"]["requiredDuringSchedulingIgnoredDuringExecution"]
    assert apart["topologyKey"] == "kubernetes.io/hostname"
    assert apart["labelSelector"]["matchLabels"].items() <= pod(documents)["metadata"]["labels"].items()
    budget = only(documents, "PodDisruptionBudget")["spec"]
    assert budget["maxUnavailable"] == 1
    assert budget["selector"]["matchLabels"] == deployment["selector"]["matchLabels"]


@pytest.mark.parametrize("taint", ["not-ready", "unreachable"])
def test_a_lost_node_is_left_after_ten_seconds(taint: str) -> None:
    extra = {"key": "dedicated", "operator": "Exists"}
    tolerations = pod(render(tolerations=[extra]))["spec"]["tolerations"]
    wanted = {
        "key": f"node.kubernetes.io/{taint}",
        "operator": "Exists",
        "effect": "NoExecute",
        "tolerationSeconds": 10,
    }
    assert wanted in tolerations
    assert extra in tolerations


def test_the_pod_meets_the_restricted_level() -> None:
    spec = pod(render())["spec"]
    assert spec["securityContext"]["runAsNonRoot"] is True
    assert spec["securityContext"]["runAsUser"] > 0
    assert spec["securityContext"]["seccompProfile"] == {"type": "RuntimeDefault"}
    for container in spec["containers"]:
        own = container["securityContext"]
        assert own["allowPrivilegeEscalation"] is False
        assert own["readOnlyRootFilesystem"] is True
        assert own["capabilities"] == {"drop": ["ALL"]}
    assert not any("hostPath" in volume for volume in spec["volumes"])


def rights(role: Fields) -> dict[tuple[str, str], set[str]]:
    """Verbs by API group and resource; rights on single names are told apart by a slash and the name."""
    found: dict[tuple[str, str], set[str]] = {}
    for rule in role["rules"]:
        for group in rule.get("apiGroups", []):
            for resource in rule["resources"]:
                for name in rule.get("resourceNames", [""]):
                    place = (group, f"{resource}/{name}" if name else resource)
                    found.setdefault(place, set()).update(rule["verbs"])
    return found


def needed(resource: Resource) -> tuple[str, str]:
    return resource.group, resource.plural


def test_the_rights_are_these_and_no_others() -> None:
    documents = render()
    watch = {"get", "list", "watch"}
    assert rights(only(documents, "ClusterRole", "holdfast-operator")) == {
        needed(TRAINING_JOBS): watch | {"patch", "delete"},
        ("holdfast.dev", "trainingjobs/status"): {"update"},
        ("holdfast.dev", "trainingjobs/finalizers"): {"update"},
        needed(PODS): watch | {"create", "delete"},
        needed(SERVICES): watch | {"create", "patch", "delete"},
        needed(CLAIMS): watch | {"create"},
        needed(STORAGE_CLASSES): {"list", "watch"},
        needed(NODES): watch,
        needed(EVENTS): {"create", "patch"},
        ("authentication.k8s.io", "tokenreviews"): {"create"},
    }
    own = rights(only(documents, "Role", "holdfast-operator"))
    lease = settings.from_environment(environment(documents)).lease_name
    secret = settings.from_environment(environment(documents)).authority_secret
    assert own == {
        (LEASES.group, f"leases/{lease}"): {"get", "update", "patch"},
        (LEASES.group, "leases"): {"create"},
        ("", f"secrets/{secret}"): {"get"},
        ("", "secrets"): {"create"},
    }


def test_the_bindings_name_the_service_account_of_the_pods() -> None:
    documents = render()
    account = only(documents, "ServiceAccount")["metadata"]["name"]
    assert pod(documents)["spec"]["serviceAccountName"] == account
    for kind in ("ClusterRoleBinding", "RoleBinding"):
        [subject] = only(documents, kind)["subjects"]
        assert subject == {"kind": "ServiceAccount", "name": account, "namespace": "holdfast-system"}


def test_users_get_our_kinds_with_the_clusters_own_roles() -> None:
    assert (
        only(render(), "ClusterRole", "holdfast-operator-edit")["metadata"]["labels"].items()
        >= {
            "rbac.authorization.k8s.io/aggregate-to-edit": "true",
            "rbac.authorization.k8s.io/aggregate-to-admin": "true",
        }.items()
    )
    names = [one["metadata"]["name"] for one in render(rbac={"aggregateToUserRoles": False}) if "Role" in one["kind"]]
    assert not [name for name in names if name.endswith(("-edit", "-view"))]


def test_everything_that_has_a_namespace_is_in_the_releases() -> None:
    cluster_wide = {"CustomResourceDefinition", "ClusterRole", "ClusterRoleBinding"}
    for one in render():
        if one["kind"] not in cluster_wide:
            assert one["metadata"]["namespace"] == "holdfast-system", one["kind"]


def test_the_versions_of_chart_and_project_are_one() -> None:
    chart = yaml.safe_load((ROOT / "charts/holdfast/Chart.yaml").read_text())
    project = (ROOT / "pyproject.toml").read_text()
    assert f'version = "{chart["appVersion"]}"' in project


def test_the_sidecars_environment_is_json_that_survives_quoting() -> None:
    nasty = {"A": 'say "hi"', "B": "back\\slash and 'quote'", "C": "{{ not a template }}", "D": "ä"}
    assert json.loads(environment(render(sidecar={"env": nasty}))["HOLDFAST_SIDECAR_ENV"]) == nasty
