"""What a change in a cache wakes, and how long that may wait."""

from __future__ import annotations

from datetime import UTC, datetime
from typing import Any, cast

import pytest
from msgspec.structs import replace

from holdfast.accelerators.tpu import ACCELERATOR_LABEL
from holdfast.api import labels
from holdfast.app.kinds import REGISTERED
from holdfast.app.patience import GATHER_S, ON_ITS_WAY_S
from holdfast.app.watched import Watched
from holdfast.cluster.objects import Key
from holdfast.planning.observed import (
    ContainerState,
    ContainerStatus,
    CustomObject,
    Metadata,
    OwnerReference,
    Pod,
    PodCondition,
    PodSpec,
    PodStatus,
    Running,
    Waiting,
)
from holdfast.planning.plan import PODS, TRAINING_JOBS, Resource
from holdfast.seams import ApiTransport
from holdfast.training.pools import NODE_POOL
from tests.support.clock import SeededRandom, VirtualClock

NOW = datetime(2026, 1, 1, tzinfo=UTC)


class Woken:
    """The caches of a replica, filled by hand, and every wake-up that came of it."""

    def __init__(self) -> None:
        self.calls: list[tuple[Key | None, float]] = []
        none = cast(ApiTransport, None)
        self.watched = Watched(none, VirtualClock(), SeededRandom(), REGISTERED, self.wake)

    def wake(self, resource: Resource | None, key: Key | None, *, within_s: float = 0.0) -> None:
        self.calls.append((key, within_s))

    def by(self, pod: Pod) -> list[tuple[Key | None, float]]:
        self.calls.clear()
        self.watched.pods.upsert(pod)
        return self.calls


@pytest.fixture
def woken() -> Woken:
    return Woken()


def pod(version: int = 1, status: PodStatus = PodStatus(), spec: PodSpec = PodSpec(), **meta: Any) -> Pod:  # noqa: B008 - frozen
    metadata = Metadata(
        name="j-0-0-1",
        namespace="ns",
        uid="pod",
        resource_version=str(version),
        labels={labels.JOB_NAME: "j"},
        owner_references=(OwnerReference(uid="job", controller=True),),
        **meta,
    )
    return Pod(metadata=metadata, spec=spec, status=status)


def job(version: int, status: dict[str, Any] | None = None) -> CustomObject:
    return CustomObject(
        metadata=Metadata(name="j", namespace="ns", uid="job", resource_version=str(version)), status=status or {}
    )


SCHEDULED = PodCondition(type="PodScheduled", status="True")
TRAINER = ContainerStatus(name="trainer", state=ContainerState(running=Running()))
CREATING = ContainerStatus(name="trainer", state=ContainerState(waiting=Waiting(reason="ContainerCreating")))


def test_a_pod_that_is_merely_on_its_way_may_wait_for_what_comes_next(woken: Woken) -> None:
    assert woken.by(pod(1)) == [(("ns", "j"), ON_ITS_WAY_S)]
    bound = pod(2, PodStatus(conditions=(SCHEDULED,)), PodSpec(node_name="n"))
    assert woken.by(bound) == [(("ns", "j"), ON_ITS_WAY_S)]


@pytest.mark.parametrize(
    "seen",
    [
        pod(2, PodStatus(phase="Running", container_statuses=(TRAINER,))),
        pod(2, PodStatus(container_statuses=(CREATING,))),
        pod(2, PodStatus(init_container_statuses=(CREATING,))),
        pod(2, PodStatus(phase="Failed")),
        pod(2, PodStatus(conditions=(replace(SCHEDULED, status="False", reason="Unschedulable"),))),
        pod(2, PodStatus(conditions=(SCHEDULED, replace(SCHEDULED, type="DisruptionTarget")))),
        pod(2, deletion_timestamp=NOW),
        pod(2, spec=PodSpec(node_name="n", node_selector={NODE_POOL: "p"})),
        pod(2, spec=PodSpec(node_name="n", node_selector={ACCELERATOR_LABEL: "tpu-v6e-slice"})),
    ],
    ids=["runs", "container", "init", "failed", "unschedulable", "evicted", "deleting", "pinned", "leads"],
)
def test_whatever_says_more_does_not(woken: Woken, seen: Pod) -> None:
    woken.by(pod(1))
    assert woken.by(seen) == [(("ns", "j"), GATHER_S)]


def test_a_pod_that_is_gone_does_not_wait(woken: Woken) -> None:
    stays = pod(2)
    for seen in (pod(1), replace(stays, metadata=replace(stays.metadata, name="j-0-1-1", uid="another"))):
        woken.by(seen)
    woken.calls.clear()
    woken.watched.pods.remove(("ns", "j-0-0-1"))
    assert woken.calls == [(("ns", "j"), GATHER_S), (None, 0.0)]


def test_a_pass_that_was_put_off_until_a_pod_is_seen_does_not_wait(woken: Woken) -> None:
    expectations = woken.watched.expectations
    for name in ("j-0-0-1", "other"):
        expectations.expect_created("job", PODS, "ns", name)
    assert expectations.wait_s("job") > 0
    assert woken.by(pod(1)) == [(("ns", "j"), ON_ITS_WAY_S)], "the other one is not seen yet"
    second = pod(1)
    second = replace(second, metadata=replace(second.metadata, name="other", uid="other"))
    assert woken.by(second) == [(("ns", "j"), GATHER_S)]


class Written(Woken):
    """The job of version 1 is in the cache, and was written as version 2."""

    def __init__(self, *, settled: bool) -> None:
        super().__init__()
        self.jobs = self.watched.objects[TRAINING_JOBS]
        self.jobs.upsert(job(1))
        self.calls.clear()
        self.watched.expectations.expect_written("job", TRAINING_JOBS, "ns", "j", "2", settled=settled)


def test_what_was_written_and_leads_to_nothing_is_seen_without_a_pass() -> None:
    written = Written(settled=True)
    written.jobs.upsert(job(2))
    assert written.calls == []
    assert written.watched.expectations.wait_s("job") == 0
    written.jobs.upsert(job(3))
    assert written.calls == [(("ns", "j"), 0.0)], "what comes after it is somebody else's"


def test_what_was_written_ahead_is_seen_with_one() -> None:
    written = Written(settled=False)
    written.jobs.upsert(job(2))
    assert written.calls == [(("ns", "j"), 0.0)]


def test_a_change_that_hides_what_was_written_is_seen_with_one() -> None:
    written = Written(settled=True)
    written.jobs.upsert(job(3))
    assert written.calls == [(("ns", "j"), 0.0)]


def test_a_pass_that_was_put_off_until_the_write_is_seen_is_made() -> None:
    written = Written(settled=True)
    assert written.watched.expectations.wait_s("job") > 0
    written.jobs.upsert(job(2))
    assert written.calls == [(("ns", "j"), 0.0)]


def test_only_the_last_write_counts() -> None:
    written = Written(settled=True)
    written.watched.expectations.expect_written("job", TRAINING_JOBS, "ns", "j", "3")
    written.jobs.upsert(job(2))
    written.jobs.upsert(job(3))
    assert written.calls == [(("ns", "j"), 0.0), (("ns", "j"), 0.0)]
