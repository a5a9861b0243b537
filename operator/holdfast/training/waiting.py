"""Why the pods of an attempt do not run yet: one reason, the most telling, with what to do about it."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Final

from holdfast.api import labels as names
from holdfast.api.reasons import Reason
from holdfast.planning.observed import Pod, Refusal
from holdfast.training import nodes
from holdfast.training.progress import store_reason
from holdfast.training.view import View

_IMAGE_REASONS: Final = frozenset(
    {
        "ErrImagePull",
        "ImagePullBackOff",
        "ErrImageNeverPull",
        "InvalidImageName",
        "ImageInspectError",
        "RegistryUnavailable",
    }
)


@dataclass(frozen=True, slots=True)
class Wait:
    """What a job waits for. `reason` is stable; `message` says what to do next."""

    reason: Reason
    message: str


def refusal(refused: Refusal) -> Wait:
    """Return the wait behind a create that the API server refused."""
    text = refused.message
    if "exceeded quota" in text:
        return Wait(
            Reason.QUOTA_EXCEEDED,
            f"The namespace's quota does not allow the pod: {text} Raise the quota or free some of it.",
        )
    if "violates PodSecurity" in text:
        return Wait(
            Reason.POD_SECURITY_REFUSED,
            f"The namespace's pod security level refuses the pod: {text} Change the template's securityContext.",
        )
    if "serviceaccount" in text.lower() and "not found" in text:
        return Wait(
            Reason.SERVICE_ACCOUNT_MISSING,
            f"{text} Create the service account or change template.spec.serviceAccountName.",
        )
    return Wait(Reason.CREATE_REFUSED, f"The API server refuses {refused.resource.kind} {refused.name}: {text}")


def of_pods(view: View) -> Wait | None:
    """Return the most telling wait of the current pods, or None where all trainers have been started."""
    pods = sorted(view.current.values(), key=lambda pod: pod.slot)
    found = [wait for pod in pods if (wait := _of_pod(view, pod)) is not None]
    order = list(_ORDER)
    return min(found, key=lambda wait: order.index(wait.reason), default=None)


_ORDER: Final = (
    Reason.IMAGE_PULL_FAILED,
    Reason.BUCKET_NOT_FOUND,
    Reason.ACCESS_DENIED,
    Reason.STORE_REFUSED,
    Reason.STORE_UNAVAILABLE,
    Reason.NODE_UNREACHABLE,
    Reason.UNSCHEDULABLE,
    Reason.CONTAINER_CONFIG_INVALID,
    Reason.RESTORING,
    Reason.AWAITING_PODS,
)


def _of_pod(view: View, pod: Pod) -> Wait | None:
    trainer = pod.container(names.TRAINER)
    if nodes.unreachable_since(view, pod) is not None and not pod.ended:
        return Wait(
            Reason.NODE_UNREACHABLE,
            f"Node {pod.spec.node_name} is out of reach; its worker is given up after recovery.nodeLostTimeout.",
        )
    if trainer is not None and (trainer.state.running or trainer.state.terminated):
        return None
    scheduled = pod.condition("PodScheduled")
    if scheduled is not None and scheduled.status == "False":
        return Wait(Reason.UNSCHEDULABLE, f"Worker {pod.slot} fits no node: {scheduled.message}"[:1000])
    for status in (*pod.status.init_container_statuses, *pod.status.container_statuses):
        waiting = status.state.waiting
        if waiting is not None and waiting.reason in _IMAGE_REASONS:
            return Wait(
                Reason.IMAGE_PULL_FAILED,
                f"The image of container {status.name} cannot be pulled: {waiting.message or waiting.reason} "
                "Correct the image or the pull secret in a new TrainingJob.",
            )
        if waiting is not None and waiting.reason in (
            "CreateContainerConfigError",
            "CreateContainerError",
            "RunContainerError",
        ):
            return Wait(
                Reason.CONTAINER_CONFIG_INVALID,
                f"Container {status.name} of worker {pod.slot} cannot be created: {waiting.message or waiting.reason}",
            )
    return _of_restore(view, pod)


def _of_restore(view: View, pod: Pod) -> Wait:
    report = view.report(pod)
    if report is not None and report.role == "Restore":
        if not report.store.ready:
            reason = store_reason(report.store.reason)
            return Wait(reason, report.store.message)
        told = f" It waits for {report.waiting_for}." if report.waiting_for else ""
        return Wait(Reason.RESTORING, f"Worker {pod.slot} restores its checkpoint.{told}")
    return Wait(Reason.AWAITING_PODS, f"Worker {pod.slot} is being started.")
