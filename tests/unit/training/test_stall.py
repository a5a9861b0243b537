"""`recovery.stallTimeout`: who is judged, when, and what follows."""

from __future__ import annotations

from datetime import timedelta
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from holdfast.api.wire import Progress
from holdfast.planning.observed import Pod, Received
from holdfast.planning.plan import Plan
from holdfast.training.plan import plan
from tests.unit.training import builders as b

TIMEOUT_S = 300


def look(*told: Received, pods: tuple[Pod, ...] | None = None, later_s: float = 0.0, **recovery: Any) -> Plan:
    spec: dict[str, Any] = {"recovery": {"stallTimeout": f"{TIMEOUT_S}s", **recovery}}
    gang = pods if pods is not None else (b.running(0), b.running(1))
    seen = b.observed(b.job(b.attempt_status(), **spec), *gang, reports=told, service=b.service())
    return plan(seen, b.NOW + timedelta(seconds=later_s))


def still(slot: int, age_s: float | None, **more: Any) -> Received:
    return b.report(
        b.running(slot), step_age_s=age_s, progress=Progress(step=70 if age_s is not None else None), **more
    )


def stalled(result: Plan) -> bool:
    return result.write_ahead is not None and b.wanted(result.write_ahead)["attempts"][0]["cause"] == "Stalled"


def test_a_gang_that_stands_still_is_restarted_and_the_restart_counts() -> None:
    result = look(still(0, 300), still(1, 312))
    status = b.wanted(result.write_ahead)
    assert (status["phase"], status["attempt"], status["restarts"]) == ("Restarting", 2, 1)
    row = status["attempts"][0]
    assert row["cause"] == "Stalled"
    for word in ("5m", "recovery.stallTimeout is 300s", "step 70"):
        assert word in row["message"]


def test_restarts_that_are_used_up_end_the_job() -> None:
    status = b.wanted(look(still(0, 300), still(1, 300), maxRestarts=0).write_ahead)
    assert (status["phase"], status["reason"]) == ("Failed", "MaxRestartsExceeded")


@pytest.mark.parametrize(
    ("why", "told"),
    [
        ("one worker goes on", (still(0, 400), still(1, 299))),
        ("nobody has told a step in this attempt", (still(0, None), still(1, None))),
        ("a sidecar was never heard", (still(0, 400),)),
        ("nobody was heard", ()),
        ("a sidecar was not heard for long", (still(0, 400), still(1, 400, at=b.NOW - timedelta(seconds=71)))),
        ("an age that cannot be", (still(0, -1.0), still(1, -400.0))),
        ("an age that no calendar holds", (still(0, 1e300), still(1, 1e10))),
        ("only the restore step was heard", (still(0, 400, role="Restore"), still(1, 400))),
    ],
)
def test_it_is_left_alone(why: str, told: tuple[Received, ...]) -> None:
    assert look(*told).write_ahead is None, why


def test_workers_that_never_tell_a_step_are_no_witnesses() -> None:
    assert stalled(look(still(0, 300), still(1, None))), "often only one worker tells steps"


def test_what_the_trainer_did_since_its_last_report_is_not_held_against_it() -> None:
    told = (still(0, 290), still(1, 290))
    assert not stalled(look(*told, later_s=25)), "it may have moved: the next report will say"


def test_without_the_field_nothing_is_judged() -> None:
    assert look(still(0, 9999), still(1, 9999), stallTimeout=None).write_ahead is None


def test_a_gang_that_ends_is_not_judged_while_it_uploads() -> None:
    uploading = tuple(b.running(slot, containerStatuses=[_ended()]) for slot in (0, 1))
    assert not stalled(look(still(0, 900), still(1, 900), pods=uploading))


def _ended() -> dict[str, Any]:
    return b.container("trainer", terminated={"exitCode": 0, "finishedAt": b.stamp(b.NOW)})


def test_a_worker_that_hangs_after_its_peer_has_ended_is_judged() -> None:
    done = b.running(1, containerStatuses=[_ended()])
    hung = b.running(0)
    early = look(still(0, 400), still(1, 10), pods=(hung, done), later_s=60)
    assert not stalled(early), "the peer had moved a minute ago"
    fresh = still(0, 700, at=b.NOW + timedelta(seconds=300))
    assert stalled(look(fresh, still(1, 10), pods=(hung, done), later_s=300))


@given(st.lists(st.floats(0, 1000), min_size=2, max_size=2), st.floats(0, 60))
def test_it_is_judged_exactly_by_the_words_and_looked_for_again_in_time(ages: list[float], since_s: float) -> None:
    result = look(still(0, ages[0]), still(1, ages[1]), later_s=since_s)
    assert stalled(result) == (min(ages) >= TIMEOUT_S)
    if not stalled(result):
        due = TIMEOUT_S - min(ages) - since_s
        assert result.requeue_after_s is not None
        assert result.requeue_after_s <= max(5.0, due) + 1e-6
