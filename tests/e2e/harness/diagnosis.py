"""What to look at when a case fails: the job, its pods, events, and what everybody has logged."""

from __future__ import annotations

from collections.abc import Callable
from functools import partial
from typing import Any

import yaml
from kubernetes.client import ApiException
from urllib3.exceptions import HTTPError

from deploy.demo import installation
from deploy.demo.job import Job
from deploy.demo.lab import REPLY_S, Lab

_LINES = 25
_WIDTH = 400


def of_job(job: Job) -> str:
    """The state of one job, its pods and their logs, and the commits in the bucket."""
    sections = [
        _section(f"status of {job.namespace}/{job.name}", lambda: yaml.safe_dump(job.object().get("status") or {})),
        _section("pods", lambda: "\n".join(_line(pod) for pod in job.pods())),
    ]
    try:
        pods = job.pods()
    except (ApiException, HTTPError):
        pods = []
    for pod in pods:
        for container in ("holdfast-restore", "holdfast-sidecar", "trainer"):
            title = f"log of {pod.metadata.name}/{container}"
            sections.append(_section(title, partial(job.log, pod, container)))
    sections.append(_section("commits", lambda: "\n".join(map(str, job.lab.bucket.commits(job.prefix())))))
    return "\n".join([*sections, of_namespace(job.lab, job.namespace), of_operator(job.lab)])


def of_namespace(lab: Lab, namespace: str) -> str:
    """The events of a namespace."""

    def events() -> str:
        items = lab.core.list_namespaced_event(namespace, _request_timeout=REPLY_S).items
        rows = [(str(item.metadata.creation_timestamp), item) for item in items]
        return "\n".join(
            f"{when} {item.type} {item.reason} {item.involved_object.name}: {item.message}"
            for when, item in sorted(rows, key=lambda row: row[0])
        )

    return _section(f"events in {namespace}", events)


def of_operator(lab: Lab) -> str:
    """The operator's replicas and the ends of their logs."""
    sections = []
    try:
        pods = installation.operator_pods(lab)
    except (ApiException, HTTPError) as error:
        return f"--- operator: {error}"
    for pod in pods:
        handle = Job(lab, installation.NAMESPACE, "")
        name = pod.spec.containers[0].name
        sections.append(_section(_line(pod), partial(handle.log, pod, name)))
    return "\n".join(sections)


def _line(pod: Any) -> str:
    statuses = [*(pod.status.init_container_statuses or []), *(pod.status.container_statuses or [])]
    states = ", ".join(f"{status.name}: {_state(status.state)}" for status in statuses)
    return f"{pod.metadata.name} on {pod.spec.node_name} {pod.status.phase} [{states}]"


def _state(state: Any) -> str:
    if state.running is not None:
        return "running"
    if state.terminated is not None:
        return f"ended {state.terminated.exit_code} {state.terminated.reason} {state.terminated.message or ''}".strip()
    return str(state.waiting.reason) if state.waiting is not None else "unknown"


def _section(title: str, ask: Callable[[], str]) -> str:
    try:
        text = ask()
    except (OSError, HTTPError, ApiException, LookupError) as error:
        text = repr(error)
    lines = [line[:_WIDTH] for line in text.strip().splitlines()]
    limit = 120 if title.startswith("status") else _LINES
    return "\n".join([f"--- {title}", *lines[-limit:]])
