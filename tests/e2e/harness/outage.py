"""Taking the bucket away, and bringing it back."""

from __future__ import annotations

from deploy.demo.lab import REPLY_S, Lab
from deploy.kind import addons
from tests.e2e.harness.waiting import until

_NAMESPACE, _DEPLOYMENT = "holdfast-bucket", "bucket"


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
