"""Who the operator and the client of the measurements are: a service account with a token, as in production.

The administrator's client certificate would be verified anew with every request, at a quarter of a millisecond.
"""

from __future__ import annotations

import orjson

from deploy.fleet.instance import Instance
from holdfast.planning.plan import Resource
from holdfast.seams import ApiError, ApiTransport
from tests.bench import load

NAME = "bench"
NAMESPACE = "kube-system"
_ACCOUNTS = Resource("", "v1", "serviceaccounts", "ServiceAccount")
_BINDINGS = Resource("rbac.authorization.k8s.io", "v1", "clusterrolebindings", "ClusterRoleBinding")
_HOURS_S = 12 * 3600


async def kubeconfig(transport: ApiTransport, instance: Instance) -> bytes:
    """Make the account, unless it is there, and return a kubeconfig with a new token of it."""
    await _make(transport, _ACCOUNTS, {"metadata": {"name": NAME, "namespace": NAMESPACE}})
    role = {"apiGroup": "rbac.authorization.k8s.io", "kind": "ClusterRole", "name": "cluster-admin"}
    subject = {"kind": "ServiceAccount", "name": NAME, "namespace": NAMESPACE}
    await _make(transport, _BINDINGS, {"metadata": {"name": NAME}, "roleRef": role, "subjects": [subject]})
    answer = await transport.request(
        "POST",
        f"{_ACCOUNTS.item(NAMESPACE, NAME)}/token",
        body=orjson.dumps({"spec": {"expirationSeconds": _HOURS_S}}),
        timeout_s=30,
    )
    cluster = {"server": instance.server, "certificate-authority": str(instance.pki / "ca.crt")}
    return orjson.dumps(
        {
            "apiVersion": "v1",
            "kind": "Config",
            "current-context": NAME,
            "contexts": [{"name": NAME, "context": {"cluster": NAME, "user": NAME}}],
            "clusters": [{"name": NAME, "cluster": cluster}],
            "users": [{"name": NAME, "user": {"token": orjson.loads(answer)["status"]["token"]}}],
        }
    )


async def _make(transport: ApiTransport, resource: Resource, manifest: load.Manifest) -> None:
    try:
        await load.create(transport, resource, manifest)
    except ApiError as error:
        if error.status != 409:
            raise
