"""Whether the job can be carried out at all: its spec is readable, and the API server would take its first pod."""

from __future__ import annotations

from datetime import timedelta
from typing import Any, Final

from holdfast.api.conditions import ConditionType
from holdfast.api.reasons import Reason
from holdfast.api.status import Condition, Phase
from holdfast.planning.observed import CustomObject, Refusal
from holdfast.planning.plan import PODS, TRAINING_JOBS, DryRun, Plan, StatusWrite
from holdfast.training import pods, waiting
from holdfast.training.draft import Draft
from holdfast.training.view import View

# What the cluster refuses today (a quota, a missing service account) it may take later.
ASK_AGAIN: Final = timedelta(seconds=30)
_WORTH_TELLING: Final = timedelta(seconds=10)


def refused(view: View) -> Plan | None:
    """Return the plan of a job that may not start yet, or None when its first pod would be accepted."""
    key = f"{view.uid}/{view.job.metadata.generation}"
    question = DryRun(PODS, pods.pod(view, view.slots[0], max(1, view.attempt + 1)), key)
    answer = view.observed.dry_run
    if answer is None or answer.key != key:
        return _ask(view, question)
    if answer.accepted:
        return None
    if answer.at is not None and view.now - answer.at >= ASK_AGAIN:
        return _ask(view, question)
    name = str(question.manifest["metadata"]["name"])
    wait = waiting.refusal(Refusal(PODS, name, answer.code, answer.reason, answer.message, answer.at or view.now))
    reason = Reason.TEMPLATE_REFUSED if wait.reason is Reason.CREATE_REFUSED else wait.reason
    draft = Draft(view)
    draft.condition(ConditionType.ACCEPTED, False, reason, wait.message)
    draft.phase(Phase.REFUSED, reason, wait.message)
    if view.status.phase is not Phase.REFUSED:
        draft.event("Warning", reason.value, wait.message)
    return Plan(status=draft.write(), events=tuple(draft.events), requeue_after_s=ASK_AGAIN.total_seconds())


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
