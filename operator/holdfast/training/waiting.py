"""Why the pods of an attempt do not run yet: one reason, the most telling, with what to do about it."""

from __future__ import annotations

from typing import Final

from holdfast.api import labels as names
from holdfast.api.reasons import Reason
from holdfast.planning.observed import Pod
from holdfast.training import claims, nodes, template_claims
from holdfast.training.progress import store_reason
from holdfast.training.view import View
from holdfast.training.wait import Wait, quoted

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
    Reason.CLAIM_NOT_FOUND,
    Reason.CLAIM_LOST,
    Reason.STORAGE_CLASS_NOT_FOUND,
    Reason.VOLUME_OUT_OF_REACH,
    Reason.CLAIM_PENDING,
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
    storage = claims.of_pod(view, pod)
    if storage is not None:
        return storage
    scheduled = pod.condition("PodScheduled")
    if scheduled is not None and scheduled.status == "False":
        return template_claims.wait(view, pod, scheduled.message) or Wait(
            Reason.UNSCHEDULABLE,
            f"Worker {pod.slot} fits no node: {quoted(scheduled.message)} Add capacity, or change the requests, "
            "selectors or tolerations in the template of a new TrainingJob.",
        )
    for status in (*pod.status.init_container_statuses, *pod.status.container_statuses):
        waiting = status.state.waiting
        if waiting is not None and waiting.reason in _IMAGE_REASONS:
            return Wait(
                Reason.IMAGE_PULL_FAILED,
                f"The image of container {status.name} cannot be pulled: {quoted(waiting.message or waiting.reason)} "
                "Correct the image or the pull secret in a new TrainingJob.",
            )
        if waiting is not None and waiting.reason in (
            "CreateContainerConfigError",
            "CreateContainerError",
            "RunContainerError",
        ):
            return Wait(
                Reason.CONTAINER_CONFIG_INVALID,
                f"Container {status.name} of worker {pod.slot} cannot be created: "
                f"{quoted(waiting.message or waiting.reason)} Create what it refers to, or correct the template in a "
                "new TrainingJob.",
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
    return Wait(Reason.AWAITING_PODS, f"Worker {pod.slot} is being started.{claims.attaching(view, pod)}")
