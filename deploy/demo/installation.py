"""Cluster, images and operator: made where they are not there, left alone where they are."""

from __future__ import annotations

import time
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from deploy.demo.lab import REPLY_S, Images, Lab, connect
from deploy.images import build
from deploy.kind import addons, cluster
from deploy.kind.console import Problem, step
from deploy.kind.paths import cache
from deploy.kind.process import run

CHART = Path(__file__).resolve().parents[2] / "charts" / "holdfast"
RELEASE = "holdfast"
NAMESPACE = "holdfast-system"
# The operator's Deployment and pods carry these labels, as Helm's own conventions have them.
SELECTOR = f"app.kubernetes.io/name=holdfast,app.kubernetes.io/instance={RELEASE}"

_WORKERS = 2
_ROLLOUT_S = 180


def ensure(name: str) -> Lab:
    """Bring the cluster ``name`` up, build and load the images, install the operator.

    Raises:
        Problem: saying what is missing, if one of them cannot be had.
    """
    kube = cluster.up(name, _WORKERS, cache())
    loaded = build.load(name, cache())
    lab = connect(kube, Images(loaded["holdfast"], loaded["holdfast-trainer"]))
    install(lab)
    return lab


def install(lab: Lab, values: Mapping[str, str] | None = None) -> None:
    """Install the chart or upgrade what is there, and wait until all replicas are ready.

    ``values`` are dotted names of the chart's values; they are added to what the local cluster needs.
    """
    repository, _, tag = lab.images.holdfast.rpartition(":")
    wanted = {
        "image.repository": repository,
        "image.tag": tag,
        "sidecar.env.STORAGE_EMULATOR_HOST": f"http://{addons.BUCKET_HOST}:4443",
        **(values or {}),
    }
    words = ["helm", "upgrade", "--install", RELEASE, str(CHART), "--namespace", NAMESPACE, "--create-namespace"]
    # A CRD that was applied by hand before is taken over.
    words += ["--take-ownership", "--wait", "--timeout", f"{_ROLLOUT_S}s"]
    for key, value in wanted.items():
        words += ["--set-string", f"{key}={value}"]
    with step("install the operator (Helm)"):
        run(words, timeout_s=_ROLLOUT_S + 30, env=lab.kube.environment())


def operator_pods(lab: Lab) -> list[Any]:
    """The operator's pods, in the order of their names."""
    listing = lab.core.list_namespaced_pod(NAMESPACE, label_selector=SELECTOR, _request_timeout=REPLY_S)
    return sorted(listing.items, key=lambda pod: str(pod.metadata.name))


def wait_ready(lab: Lab) -> None:
    """Wait until as many replicas are ready as the Deployment asks for.

    Raises:
        Problem: if that takes longer than a rollout may.
    """
    started = time.monotonic()
    while time.monotonic() - started < _ROLLOUT_S:
        listing = lab.apps.list_namespaced_deployment(NAMESPACE, label_selector=SELECTOR, _request_timeout=REPLY_S)
        if listing.items and all(one.status.ready_replicas == one.spec.replicas for one in listing.items):
            return
        time.sleep(0.5)
    raise Problem(f"the operator's replicas are not ready within {_ROLLOUT_S} s: kubectl -n {NAMESPACE} get pods")
