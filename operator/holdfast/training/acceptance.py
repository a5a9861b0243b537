"""Whether the job can be carried out at all: its spec is readable, its volume can be had, and the API server would take
its first pod."""

from __future__ import annotations

import hashlib
from datetime import timedelta
from typing import Any, Final

import msgspec

from holdfast.api.conditions import ConditionType
from holdfast.api.reason_facts import FACTS
from holdfast.api.reasons import Reason, Sort
from holdfast.api.status import Condition, Phase
from holdfast.planning.observed import CustomObject, Refusal
from holdfast.planning.plan import PODS, TRAINING_JOBS, DryRun, Plan, StatusWrite
from holdfast.training import claims, pods, volumes
from holdfast.training.draft import Draft
from holdfast.training.refusals import refusal
from holdfast.training.view import View
from holdfast.training.wait import Wait

# What the cluster refuses today (a quota, a missing service account) it may take later.
ASK_AGAIN: Final = timedelta(seconds=30)
_WORTH_TELLING: Final = timedelta(seconds=10)
# A namespace that was made a moment before the job gets its service account a moment later.
_NEW: Final = timedelta(seconds=10)
_ASK_SOON: Final = timedelta(seconds=2)


def refused(view: View) -> Plan | None:
    """Return the plan of a job that may not start yet, or None when its first pod would be accepted."""
    wait = volumes.too_little_memory(view)
    if wait is not None:
        return _tell(view, wait, None)
    read = claims.reading(view)
    if read is not None:
        return Plan(read=read)
    wait = claims.refused(view)
    if wait is not None:
        return _tell(view, wait, claims.READ_AGAIN.total_seconds())
    key = f"{view.uid}/{view.job.metadata.generation}"
    answer = view.observed.dry_run
    if answer is not None and answer.key == key and answer.accepted:
        return None
    form = _form(view)
    if (answer is None or answer.key != key) and form in view.observed.accepted_forms:
        return None
    question = DryRun(PODS, pods.pod(view, view.slots[0], max(1, view.attempt + 1)), key, form)
    if answer is None or answer.key != key:
        return _ask(view, question)
    at = answer.at or view.now
    name = str(question.manifest["metadata"]["name"])
    refused = Refusal(PODS, name, answer.code, answer.reason, answer.message, at)
    wait = refusal(refused, volumes.resources_of_ours(view))
    new = wait.reason is Reason.SERVICE_ACCOUNT_MISSING and _age(view) < _NEW
    again = _ASK_SOON if new else ASK_AGAIN
    if view.now - at >= again:
        return _ask(view, question)
    left = (at + again - view.now).total_seconds()
    if new:
        return Plan(requeue_after_s=max(0.1, left))
    return _tell(view, wait, left)


def _tell(view: View, wait: Wait, left: float | None) -> Plan:
    """Return the plan that tells why nothing is created; `left` is when to look whether that has changed."""
    reason, message = wait.reason, wait.message
    if reason is Reason.CREATE_REFUSED:
        reason = Reason.TEMPLATE_REFUSED
        message = f"{message} Correct spec.template in a new TrainingJob, or what the message names in the cluster."
    phase = Phase.REFUSED if FACTS[reason].sort is Sort.REFUSED else Phase.PENDING
    draft = Draft(view)
    draft.condition(ConditionType.ACCEPTED, False, reason, message)
    draft.phase(phase, reason, message)
    if view.status.reason != reason.value:
        draft.event("Warning", reason.value, message)
    return Plan(
        status=draft.write(), events=tuple(draft.events), requeue_after_s=None if left is None else max(0.1, left)
    )


def _age(view: View) -> timedelta:
    created = view.job.metadata.creation_timestamp
    return view.now - created if created is not None else _NEW


def _form(view: View) -> str:
    """Identify what the pods of this job are made from, apart from its name: the namespace and the spec.

    Which prefix of a bucket the checkpoints go to and what is restored is no business of the API server's.
    """
    spec = dict(view.job.spec)
    checkpoint = spec.get("checkpoint") or {}
    if str(checkpoint.get("destination", "")).startswith("gs://"):
        spec["checkpoint"] = {key: value for key, value in checkpoint.items() if key not in ("destination", "restore")}
    document = msgspec.json.encode([view.job.metadata.namespace, spec], order="sorted")
    return hashlib.sha256(document).hexdigest()


def _ask(view: View, question: DryRun) -> Plan:
    """Return the plan that asks, and tells when there is no answer for a while; the shell comes again by itself."""
    waited = view.observed.waiting
    reason = Reason.DRY_RUN_UNANSWERED
    if waited is None or waited[0] != reason.value or view.now - waited[1] < _WORTH_TELLING:
        return Plan(dry_run=question, waiting=reason.value)
    message = "The API server does not answer whether it would take a pod: look for a webhook for pods that fails."
    draft = Draft(view)
    draft.condition(ConditionType.ACCEPTED, None, reason, message)
    draft.phase(Phase.PENDING, reason, message)
    return Plan(dry_run=question, waiting=reason.value, status=draft.write())


def unreadable(job: CustomObject, error: ValueError) -> Plan:
    """Return the plan of a job whose spec cannot be read: nothing is created or changed, and the status says why."""
    conditions: list[dict[str, Any]] = job.status.get("conditions", [])
    before = [c for c in conditions if c.get("type") != ConditionType.ACCEPTED.value]
    had = next((c for c in conditions if c.get("type") == ConditionType.ACCEPTED.value), {})
    changed_at = had.get("lastTransitionTime") if had.get("status") == "False" else None
    message = f"The spec cannot be read: {error}"[:1000]
    condition = Condition.model_validate(
        {
            "type": ConditionType.ACCEPTED.value,
            "status": "False",
            "reason": Reason.SPEC_UNREADABLE.value,
            "message": message,
            "lastTransitionTime": changed_at or job.metadata.creation_timestamp,
            "observedGeneration": job.metadata.generation,
        }
    ).model_dump(by_alias=True, exclude_none=True, mode="json")
    wanted = {
        **job.status,
        "conditions": [*before, condition],
        "phase": Phase.REFUSED.value,
        "reason": Reason.SPEC_UNREADABLE.value,
        "message": message,
        "observedGeneration": job.metadata.generation,
    }
    meta = job.metadata
    return Plan(status=StatusWrite(TRAINING_JOBS, meta.namespace, meta.name, meta.resource_version, job.status, wanted))
