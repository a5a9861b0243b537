"""What every cluster gets on top of kind: the two storage classes, and a bucket."""

import json
import urllib.error
import urllib.request
from string import Template

from deploy.kind import systemimages
from deploy.kind.console import step
from deploy.kind.kindconfig import SHARED_IN_NODE
from deploy.kind.kube import Kube
from deploy.kind.loading import load
from deploy.kind.paths import MANIFESTS
from deploy.kind.process import Failed, wait_for

BUCKET_HOST = "bucket.holdfast-bucket.svc.cluster.local"
BUCKET_NODE_PORT = 30443
BUCKET_NAME = "holdfast"
_PROVISIONER = "holdfast.example/local-path"
_REPLY_TIMEOUT_S = 5.0
# Cluster DNS is kind's own, but a cluster is of no use before it answers.
_DEPLOYMENTS = (
    ("local-path-storage", "local-path-provisioner"), ("holdfast-bucket", "bucket"), ("kube-system", "coredns"),
)  # fmt: skip


def bucket_url(kube: Kube) -> str:
    """Address of the bucket server from the host. Pods use ``http://BUCKET_HOST:4443``."""
    return f"http://{kube.address(kube.nodes()[0])}:{BUCKET_NODE_PORT}"


def install(kube: Kube) -> None:
    """Put storage classes and bucket up and wait for them; safe to repeat."""
    if kube.provider.name == "docker":
        # The self-built node image carries these images, kindest/node does not.
        load(kube, [systemimages.addons(kube.provider.cache).path])
    with step("storage classes, bucket and DNS"):
        _remove_foreign_class(kube)
        for name in ("storage", "bucket"):
            kube.apply(_render(name))
        for namespace, name in _DEPLOYMENTS:
            # Available, not complete: one of CoreDNS's two pods will do.
            wanted = ("--for=condition=Available", f"deployment/{name}", "--timeout=90s")
            kube.kubectl("-n", namespace, "wait", *wanted, timeout_s=95)
        create_bucket(bucket_url(kube), BUCKET_NAME)


def create_bucket(url: str, name: str) -> None:
    """Create a bucket if it is not there.

    Raises:
        Problem: if the server does not answer within 30 s.
    """
    wait_for(f"bucket {name} at {url}", lambda: _created(url, name), timeout_s=30)


def bucket_answers(url: str, name: str) -> bool:
    """Whether the bucket is there."""
    try:
        with urllib.request.urlopen(f"{url}/storage/v1/b/{name}", timeout=_REPLY_TIMEOUT_S) as reply:
            return bool(reply.status == 200)
    except (urllib.error.URLError, TimeoutError, ConnectionError):
        return False


def _created(url: str, name: str) -> bool:
    if bucket_answers(url, name):
        return True
    request = urllib.request.Request(
        f"{url}/storage/v1/b?project=holdfast", data=json.dumps({"name": name}).encode(),
        headers={"Content-Type": "application/json"}, method="POST",
    )  # fmt: skip
    try:
        with urllib.request.urlopen(request, timeout=_REPLY_TIMEOUT_S):
            return True
    except (urllib.error.URLError, TimeoutError, ConnectionError) as error:
        raise Failed(str(error)) from error


def _render(name: str) -> str:
    template = Template((MANIFESTS / f"{name}.yaml").read_text())
    return template.substitute(
        shared=SHARED_IN_NODE, shell_image=systemimages.SHELL, local_path_image=systemimages.local_path_image(),
        bucket_image=systemimages.bucket_image(), bucket_host=BUCKET_HOST, bucket_node_port=BUCKET_NODE_PORT,
    )  # fmt: skip


def _remove_foreign_class(kube: Kube) -> None:
    """Remove the ``standard`` class that kind makes, with its provisioner: a class's provisioner cannot be changed."""
    found = kube.kubectl("get", "storageclass", "standard", "-o", "jsonpath={.provisioner}", "--ignore-not-found")
    if found and found != _PROVISIONER:
        kube.kubectl("delete", "storageclass", "standard")
        kube.kubectl("delete", "namespace", "local-path-storage", "--ignore-not-found", timeout_s=90)
