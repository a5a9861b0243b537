"""What happens to the pods of a gang that leaves may wait for the last of them, and that for nothing."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta
from typing import cast

import pytest
from msgspec.structs import replace

from holdfast.api import labels
from holdfast.app.kinds import REGISTERED
from holdfast.app.patience import GATHER_S, LEAVING_S
from holdfast.app.watched import Watched
from holdfast.cluster.objects import Key
from holdfast.planning.observed import ContainerState, ContainerStatus, Metadata, Pod, PodStatus, Running, Terminated
from holdfast.planning.plan import Resource
from holdfast.seams import ApiTransport
from tests.support.clock import SeededRandom, VirtualClock

NOW = datetime(2026, 1, 1, tzinfo=UTC)
JOB: Key = ("ns", "j")
RUNS = PodStatus(
    phase="Running", container_statuses=(ContainerStatus(name="trainer", state=ContainerState(running=Running())),)
)
ENDED = PodStatus(
    phase="Failed",
    container_statuses=(ContainerStatus(name="trainer", state=ContainerState(terminated=Terminated(exit_code=143))),),
)


class Gang:
    """The pods of one job in the caches of a replica, and how long each wake-up of the job may wait."""

    def __init__(self) -> None:
        self.woken: list[float] = []
        self.version = 0
        self.watched = Watched(cast(ApiTransport, None), VirtualClock(), SeededRandom(), REGISTERED, self._wake)

    def _wake(self, resource: Resource | None, key: Key | None, *, within_s: float = 0.0) -> None:
        if key is not None:
            assert key == JOB
            self.woken.append(within_s)

    def sees(self, slot: int, status: PodStatus = RUNS, *, grace_s: int | None = None, uid: str = "") -> list[float]:
        self.version += 1
        self.woken.clear()
        metadata = Metadata(
            name=f"j-0-{slot}-1",
            namespace="ns",
            uid=uid or f"pod-{slot}",
            resource_version=str(self.version),
            labels={labels.JOB_NAME: "j"},
        )
        if grace_s is not None:
            left = timedelta(seconds=grace_s)
            metadata = replace(metadata, deletion_timestamp=NOW + left, deletion_grace_period_seconds=grace_s)
        self.watched.pods.upsert(Pod(metadata=metadata, status=status))
        return self.woken

    def loses(self, slot: int) -> list[float]:
        self.woken.clear()
        self.watched.pods.remove(("ns", f"j-0-{slot}-1"))
        return self.woken


@pytest.fixture
def gang() -> Gang:
    """Three pods that run."""
    made = Gang()
    for slot in range(3):
        made.sees(slot)
    return made


def test_the_last_pod_that_goes_waits_for_nothing(gang: Gang) -> None:
    for slot in range(3):
        gang.sees(slot, grace_s=30)
    assert gang.loses(0) == [LEAVING_S]
    assert gang.loses(1) == [LEAVING_S]
    assert gang.loses(2) == [0.0]


def test_that_a_pod_is_to_leave_is_news(gang: Gang) -> None:
    assert gang.sees(0, grace_s=30) == [GATHER_S]


def test_a_pod_that_vanishes_without_a_word_is_news(gang: Gang) -> None:
    assert gang.loses(0) == [GATHER_S]


def test_a_shorter_time_to_leave_is_none(gang: Gang) -> None:
    gang.sees(0, grace_s=30)
    assert gang.sees(0, grace_s=0) == [LEAVING_S]


def test_how_the_containers_of_a_leaving_pod_end_is_news(gang: Gang) -> None:
    gang.sees(0, grace_s=30)
    assert gang.sees(0, ENDED, grace_s=30) == [GATHER_S]


def test_another_pod_of_that_name_is_news(gang: Gang) -> None:
    gang.sees(0, grace_s=30)
    assert gang.sees(0, grace_s=30, uid="another") == [GATHER_S]
