"""The life of one attempt: written ahead, its way cleared, its pods created, watched until it ends."""

from __future__ import annotations

from dataclasses import replace
from datetime import timedelta
from typing import Final

from holdfast.api import labels as names
from holdfast.api.conditions import ConditionType
from holdfast.api.reasons import Reason
from holdfast.api.status import Phase, SlicePool, WorkerCounts
from holdfast.planning.observed import Pod
from holdfast.planning.plan import PODS, SERVICES, Action, Create, Patch, Plan
from holdfast.training import (
    claims,
    first,
    nodes,
    orders,
    placement,
    pods,
    progress,
    stopping,
    suspension,
    volumes,
    waiting,
)
from holdfast.training.draft import Draft
from holdfast.training.ended import revise_cause
from holdfast.training.refusals import refusal
from holdfast.training.stopping import Stop
from holdfast.training.view import View
from holdfast.training.wait import Wait

_NOTHING: Final = Stop()

# A wait is written to status once it has lasted this long: most are over before anybody could read them.
_WORTH_TELLING: Final = timedelta(seconds=10)
_AT_ONCE: Final = frozenset({Reason.BUCKET_NOT_FOUND, Reason.ACCESS_DENIED, Reason.BACKING_OFF})
# How long the first write about a running gang waits for the sidecars to say where they started from.
_FIRST_REPORTS: Final = timedelta(seconds=5)


def was_created(view: View) -> bool:
    """Say whether status has recorded that all pods of the attempt existed: a missing one has then vanished."""
    workers = view.status.workers
    return workers is not None and workers.created >= len(view.slots)


def newest_pod(view: View) -> int:
    """Return the newest attempt that this job has a pod of; 0 for none."""
    return max((pod.attempt for pod in (*view.current.values(), *view.older)), default=0)


def begin(view: View) -> Plan:
    """Write the next attempt ahead; its pods are created by the passes that see it in status."""
    draft = Draft(view)
    first.open_attempt(view, draft, view.attempt + 1)
    suspension.lift(view, draft)
    message = f"{len(view.slots)} pods are being created."
    draft.condition(ConditionType.RUNNING, False, Reason.AWAITING_PODS, message)
    draft.phase(Phase.STARTING, Reason.AWAITING_PODS, message)
    return Plan(write_ahead=draft.write())


def clear_the_way(view: View, draft: Draft) -> Plan | None:
    """Remove what is left of older attempts and wait for what is left of older jobs; None when the way is clear."""
    revise_cause(view, draft)
    if view.older:
        rows = view.status.attempts or ()
        ended_at = [row.ended_at for row in rows if row.ended_at is not None]
        stop = stopping.stop(view, view.older, ended_at[-1] if ended_at else view.now, broken=True)
        where = f" on unreachable {', '.join(stop.unreachable)}" if stop.unreachable else ""
        wait = Wait(Reason.PREVIOUS_ATTEMPT_TERMINATING, f"Pods of an older attempt are being stopped{where}.")
        # What this attempt will take is kept for it while the pods of the one before go.
        return replace(_waiting(view, draft, wait, stop), claims=placement.choose(view).claims)
    if view.foreign:
        wait = Wait(Reason.PREVIOUS_JOB_TERMINATING, "Pods of a former job of this name are not gone yet.")
        actions: tuple[Action, ...] = ()
        for pod in view.foreign:
            actions += (
                (stopping.delete(pod, 0),) if nodes.abandoned(view, pod) else stopping.shorten(view.observed, pod)
            )
        return _waiting(view, draft, wait, Stop(actions))
    retry_at = view.status.next_retry_at
    if retry_at is not None and retry_at > view.now and not view.current:
        wait = Wait(Reason.BACKING_OFF, f"The next attempt starts at {retry_at:%H:%M:%S} UTC.")
        # The write-ahead of this attempt has told nextRetryAt already; saying it twice is not worth a write.
        return Plan(waiting=wait.reason.value, requeue_after_s=(retry_at - view.now).total_seconds())
    return None


def keep(view: View, draft: Draft) -> Plan:
    """Create what is missing, tell what is waited for, and keep status up to date."""
    blocked = _service_blocked(view) or claims.blocked(view)
    if blocked is not None:
        return _waiting(view, draft, blocked)
    # Pods come after their claims were seen: where a claim is refused, no pod is left waiting for it.
    actions = _claims(view)
    choice = None
    if not actions:
        if not was_created(view):
            contest = placement.contested(view)
            if contest is not None:
                return _waiting(view, draft, contest)
            choice = placement.choose(view)
        actions = _service(view) + _missing(view, choice)
    if actions and view.observed.refusals:
        return _refused(view, draft, actions)
    if actions:
        being_made = Wait(Reason.AWAITING_PODS, "Pods are being created; the operator's log names a create that fails.")
        return _waiting(view, draft, being_made, Stop(actions))
    progress.bucket_and_health(view, draft, settled=False)
    if choice is not None and choice.unused:
        word = Reason.PLACED_ANEW.value
        return Plan(waiting=word, claims=choice.claims, requeue_after_s=placement.look_again_s(view, choice))
    wait = (placement.wait(view, choice) if choice is not None else None) or waiting.of_pods(view)
    if wait is not None:
        return _not_started(view, draft, wait)
    return _running(view, draft)


def _not_started(view: View, draft: Draft, wait: Wait) -> Plan:
    looks = [left.total_seconds() for pod in view.current.values() if (left := nodes.given_up_in(view, pod))]
    read = None
    if view.shares_volume and any(not pod.spec.node_name for pod in view.current.values()):
        # Nothing tells of changes of a claim that is not ours.
        read = claims.reading(view)
        looks.append(claims.READ_AGAIN.total_seconds())
    plan = _waiting(view, draft, wait, Stop(requeue_after_s=max(0.2, min(looks)) if looks else None))
    return replace(plan, read=read)


def _refused(view: View, draft: Draft, actions: tuple[Action, ...]) -> Plan:
    newest = max(view.observed.refusals, key=lambda item: item.at)
    wait = refusal(newest, volumes.resources_of_ours(view))
    age = (view.now - newest.at).total_seconds()
    # The shell forgets a refusal when the create succeeds: try again at a steady pace.
    due = actions if age >= _WORTH_TELLING.total_seconds() else ()
    return _waiting(view, draft, wait, Stop(due, requeue_after_s=_WORTH_TELLING.total_seconds()))


def _service_blocked(view: View) -> Wait | None:
    service = view.observed.service
    if not pods.needs_service(view) or service is None or service.metadata.controller_uid == view.uid:
        return None
    name = service.metadata.name
    if service.metadata.labels.get(names.MANAGED_BY) == names.MANAGED_BY_VALUE:
        return Wait(Reason.PREVIOUS_JOB_TERMINATING, f"Service {name} of a former job of this name is not gone yet.")
    return Wait(
        Reason.CREATE_REFUSED,
        f"Service {name} exists and belongs to somebody else: delete it, or create the TrainingJob under another name.",
    )


def _service(view: View) -> tuple[Action, ...]:
    """Create the Service, or raise its selector to the current attempt; never lower it."""
    if not pods.needs_service(view):
        return ()
    service = view.observed.service
    if service is None:
        return (Create(SERVICES, pods.service(view, view.attempt)),)
    selected = service.spec.selector.get(names.ATTEMPT, "")
    if selected.isdigit() and int(selected) >= view.attempt:
        return ()
    body = {
        "metadata": {"resourceVersion": service.metadata.resource_version},
        "spec": {"selector": pods.selector(view, view.attempt)},
    }
    meta = service.metadata
    return (Patch(SERVICES, meta.namespace, meta.name, body),)


def _claims(view: View) -> tuple[Action, ...]:
    return () if was_created(view) else claims.missing(view)


def _missing(view: View, choice: placement.Choice | None) -> tuple[Action, ...]:
    if choice is None:
        return ()
    return tuple(
        Create(PODS, pods.pod(view, slot, view.attempt, choice.places[slot.name]))
        for slot in view.slots
        if slot.name not in view.current and not choice.places[slot.name].waits
    )


def _running(view: View, draft: Draft) -> Plan:
    """All trainers were started: write it once, then refresh progress now and then."""
    was_running = view.status.phase is Phase.RUNNING
    told = progress.told(view)
    if not was_running and not _sidecars_told(view):
        return Plan(waiting="FirstReports", requeue_after_s=_FIRST_REPORTS.total_seconds())
    due = progress.due_in(view)
    if was_running and due > 0:
        return Plan(status=draft.write(), commands=orders.standing(view), requeue_after_s=due)
    if told.checkpoint is not None:
        draft.set(checkpoint=told.checkpoint)
    draft.set(progress=told.progress, workers=_count(view))
    progress.bucket_and_health(view, draft, settled=True)
    if not was_running:
        _started(view, draft, told)
    return Plan(
        status=draft.write(),
        commands=orders.standing(view),
        events=tuple(draft.events),
        settled=True,
        requeue_after_s=progress.REFRESH_S,
    )


def _started(view: View, draft: Draft, told: progress.Told) -> None:
    step = told.checkpoint.restored_step if told.checkpoint else None
    where = f"from step {step}" if step is not None else "from nothing"
    message = f"Attempt {view.attempt} runs with {len(view.slots)} workers, started {where}."
    draft.condition(ConditionType.RUNNING, True, Reason.RUNNING, message)
    draft.phase(Phase.RUNNING, Reason.RUNNING, message)
    pools = placement.pools_in_use(view)
    if pools and view.spec.accelerator.tpu is not None:
        draft.set(node_pools=[SlicePool(slice=number, node_pool=pool) for number, pool in sorted(pools.items())])
    draft.set(next_retry_at=None)
    if view.spec.checkpoint is None:
        return
    rows = view.status.attempts or ()
    if rows:
        draft.revise(-1, rows[-1].model_copy(update={"restored_step": step}))
    damage = "; ".join(f"{item.object}: {item.problem}" for item in told.damages)
    if damage:
        note = f"Damaged objects made the restore fall back to an older commit: {damage}"
        draft.condition(ConditionType.RESTORED, True, Reason.RESTORED, note)
        draft.event("Warning", Reason.RESTORE_FELL_BACK.value, note)
    elif step is not None:
        draft.condition(ConditionType.RESTORED, True, Reason.RESTORED, f"All workers restored step {step}.")
    else:
        draft.condition(ConditionType.RESTORED, True, Reason.STARTED_FROM_NOTHING, "There was no commit to start from.")


def _sidecars_told(view: View) -> bool:
    if view.spec.checkpoint is None or not view.observed.settings.report_url:
        return True
    reports = [view.report(pod) for pod in view.current.values()]
    if all(report is not None and report.role == "Sidecar" for report in reports):
        return True
    waited = view.observed.waiting
    return waited is not None and waited[0] == "FirstReports" and view.now - waited[1] >= _FIRST_REPORTS


def _count(view: View) -> WorkerCounts:
    current = view.current.values()
    return WorkerCounts(
        desired=len(view.slots),
        created=len(view.current),
        running=sum(1 for pod in current if _trainer_runs(pod)),
        succeeded=sum(1 for pod in current if _trainer_succeeded(pod)),
    )


def _trainer_runs(pod: Pod) -> bool:
    trainer = pod.container(names.TRAINER)
    return trainer is not None and trainer.state.running is not None


def _trainer_succeeded(pod: Pod) -> bool:
    trainer = pod.container(names.TRAINER)
    ended = trainer.state.terminated if trainer else None
    return ended is not None and ended.exit_code == 0


def _waiting(view: View, draft: Draft, wait: Wait, doing: Stop = _NOTHING) -> Plan:
    """Return the plan of a job that waits: its actions, and the reason once it has lasted or cannot wait."""
    waited = view.observed.waiting
    lasted = view.now - waited[1] if waited is not None and waited[0] == wait.reason.value else timedelta(0)
    told_before = view.status.reason == wait.reason.value
    looks = [doing.requeue_after_s] if doing.requeue_after_s is not None else []
    if wait.reason in _AT_ONCE or (lasted >= _WORTH_TELLING and not told_before):
        phase = Phase.RESTARTING if view.status.phase is Phase.RESTARTING else Phase.STARTING
        draft.condition(ConditionType.RUNNING, False, wait.reason, wait.message)
        draft.phase(phase, wait.reason, wait.message)
    elif not told_before:
        looks.append((_WORTH_TELLING - lasted).total_seconds())
    return Plan(
        actions=doing.actions,
        commands=doing.commands,
        status=draft.write(),
        events=tuple(draft.events),
        waiting=wait.reason.value,
        requeue_after_s=max(0.1, min(looks)) if looks else None,
    )
