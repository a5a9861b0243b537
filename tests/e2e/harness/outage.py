"""Taking the bucket away, and bringing it back."""

from __future__ import annotations

from deploy.demo.lab import REPLY_S, Lab
from deploy.kind import addons
from deploy.kind.console import say
from tests.e2e.harness.waiting import until

_NAMESPACE, _DEPLOYMENT = "holdfast-bucket", "bucket"
# Where the server keeps objects, on the first node.
_FILES = "/var/lib/holdfast-bucket"


def scale_bucket(lab: Lab, replicas: int) -> None:
    """Have no server for the bucket, or one, and wait until that is so."""
    body = {"spec": {"replicas": replicas}}
    lab.apps.patch_namespaced_deployment_scale(_DEPLOYMENT, _NAMESPACE, body, _request_timeout=REPLY_S)
    until(
        f"the bucket has {replicas} replicas",
        lambda: (
            len(lab.core.list_namespaced_pod(_NAMESPACE, _request_timeout=REPLY_S).items) == replicas
            and addons.bucket_answers(lab.bucket.url, lab.bucket.name) == bool(replicas)
        ),
        within_s=60,
    )
    if not replicas:
        _sweep(lab)


def _sweep(lab: Lab) -> None:
    """Take away what the server was writing when it ended: it cannot list a folder that holds such a file.

    The server writes `.<name><digits>` and renames it; the real service has no such files.
    """
    swept = lab.kube.docker("exec", lab.kube.nodes()[0], *sweeping(_FILES)).split()
    if swept:
        say(f"half-written by the bucket's server, and swept: {', '.join(swept)}")


def sweeping(folder: str) -> tuple[str, ...]:
    """The command that deletes half-written files below a folder, and prints their names."""
    return ("find", folder, "-type", "f", "-name", ".*[0-9][0-9][0-9][0-9][0-9][0-9]", "-print", "-delete")
