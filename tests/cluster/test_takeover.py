"""What a replica that takes the lead must not do: believe old reports, or act on what its caches do not show yet."""

from __future__ import annotations

from holdfast.api import labels
from holdfast.api.wire import Report
from holdfast.app.operator import Replica
from holdfast.app.patience import ON_ITS_WAY_S
from holdfast.seams import ApiError
from tests.support.clock import run_until
from tests.support.house import Document, House, TwoPods


async def lose_and_lead_again(house: House, replica: Replica) -> None:
    house.server.faults.down = True
    await run_until(house.clock, lambda: not replica.elector.leading, limit_s=15)
    await house.clock.advance(1)
    house.server.faults.down = False
    await run_until(house.clock, lambda: replica.elector.leading, limit_s=30)


async def test_reports_of_an_earlier_term_are_forgotten(house: House) -> None:
    house.job()
    replica = await house.start()
    await house.until(seen=2)
    pod = house.server.all("pods")[0]["metadata"]
    replica.inbox.put(
        Report(
            role="Sidecar", namespace="ns", job="j", job_uid="", attempt=1, slot="0-0", pod_name=pod["name"],
            pod_uid=pod["uid"], sequence=1, phase="Watching",
        )
    )  # fmt: skip
    await house.clock.advance(1)
    assert house.planner.shown[-1].reports
    await lose_and_lead_again(house, replica)
    await house.clock.advance(5)
    assert house.planner.shown[-1].reports == {}


async def test_plans_are_told_since_when_this_replica_leads(house: House) -> None:
    house.job()
    replica = await house.start()
    await house.until(seen=2)
    first = house.planner.shown[-1].leading_since
    assert first is not None
    await lose_and_lead_again(house, replica)
    again = house.clock.now()
    await house.clock.advance(5)
    second = house.planner.shown[-1].leading_since
    assert second is not None
    assert first < second
    assert abs((second - again).total_seconds()) < 1


async def leader_dies_while_the_standby_sees_no(plural: str, house: House) -> int:
    """Let `op-1` take over with a watch that has shown it nothing for a while. Return the plans made before."""
    first = len(house.server.watches)
    await house.start("op-1")
    await run_until(house.clock, lambda: len(house.server.watches) >= first + 4, limit_s=5)
    for watch in house.server.watches[first:]:
        watch.silent = watch._target.info.plural == plural
    house.server.merge("trainingjobs", "ns", "j", {"spec": {"marker": 2}})
    await house.clock.advance(3)
    await house.power[0].stop()
    return len(house.planner.shown)


async def test_a_new_leader_makes_no_plan_from_an_object_that_has_changed_since(house: House) -> None:
    house.job()
    await house.start()
    await house.until(seen=2)
    before = await leader_dies_while_the_standby_sees_no("trainingjobs", house)
    await run_until(house.clock, lambda: len(house.planner.shown) > before, limit_s=150)
    assert house.clock.elapsed > 60, "it had to wait until the silent watch was opened anew"
    plans = house.planner.shown[before:]
    assert all(observed.object is not None and observed.object.spec["marker"] == 2 for observed in plans)


async def test_a_new_leader_takes_no_object_for_gone_that_it_has_not_seen_yet(house: House) -> None:
    await house.start()
    await house.clock.advance(3)
    first = len(house.server.watches)
    await house.start("op-1")
    await run_until(house.clock, lambda: len(house.server.watches) >= first + 4, limit_s=5)
    for watch in house.server.watches[first:]:
        watch.silent = watch._target.info.plural == "trainingjobs"
    house.job()
    await house.until(seen=2)
    await house.power[0].stop()
    before = len(house.planner.shown)
    await run_until(house.clock, lambda: len(house.planner.shown) > before, limit_s=150)
    assert all(observed.object is not None for observed in house.planner.shown[before:])


async def test_a_new_leader_that_cannot_read_waits_and_then_plans(house: House) -> None:
    lists: list[str] = []

    def beyond_the_watch(method: str, path: str) -> bool:
        lists.extend([path] if (method, path.endswith("/trainingjobs")) == ("GET", True) else [])
        return bool(lists[1:]) and lists[-1] == path

    house.server.faults.refuse(beyond_the_watch, ApiError(503, "Busy", "", retry_after_s=9), times=7)
    house.job()
    await house.start()
    await house.clock.advance(5)
    assert house.planner.shown == []
    await house.until(seen=2)


async def test_a_new_leader_lists_once_instead_of_reading_every_object(house: House) -> None:
    for number in range(30):
        house.job(f"j-{number}")
    await house.start()
    await run_until(house.clock, lambda: len(house.server.all("pods")) == 60, limit_s=10)
    house.server.requests.clear()
    await house.start("op-1")
    await house.clock.advance(2)
    await house.power[0].stop()
    before = len(house.planner.shown)
    await run_until(house.clock, lambda: len(house.planner.shown) >= before + 30, limit_s=60)
    reads = [path for method, path in house.server.requests if method == "GET" and "trainingjobs/" in path]
    lists = [path for method, path in house.server.requests if method == "GET" and path.endswith("/trainingjobs")]
    assert reads == []
    assert len(lists) == 2, "one for the watch, one for the term"


async def test_what_comes_after_the_begin_of_a_term_is_not_read(house: House) -> None:
    house.job("first")
    await house.start()
    await house.until(name="first", seen=2)
    house.server.requests.clear()
    house.job("second")
    await house.until(name="second", seen=2)
    assert [path for method, path in house.server.requests if method == "GET" and "trainingjobs" in path] == []


def reads_of_jobs(house: House) -> list[str]:
    return [path for method, path in house.server.requests if method == "GET" and "trainingjobs/" in path]


def service_of(job: str, name: str) -> Document:
    marks = {labels.MANAGED_BY: labels.MANAGED_BY_VALUE, labels.JOB_NAME: job}
    return {"metadata": {"name": name, "namespace": "ns", "labels": marks}, "spec": {}}


async def test_what_goes_after_a_deleted_job_costs_no_reads(house: House) -> None:
    house.job()
    await house.start()
    await house.until(seen=2)
    for number in range(3):
        house.server.put("services", service_of("j", f"s-{number}"))
    await house.clock.advance(1)
    house.server.requests.clear()
    house.server.remove("trainingjobs", "ns", "j")
    for number in range(3):
        await house.clock.advance(1)
        house.server.remove("services", "ns", f"s-{number}")
    await house.clock.advance(1)
    assert house.server.all("pods") == []
    assert reads_of_jobs(house) == []


async def test_pods_of_a_job_that_a_new_leader_does_not_know_cost_one_read(house: House) -> None:
    for name in ("a", "b"):
        house.server.put("pods", TwoPods.pod_of("ns", "gone", "uid-gone", name))
    await house.start()
    for number in range(5):
        house.server.merge("pods", "ns", "a", {"metadata": {"labels": {"seen": str(number)}}})
        await house.clock.advance(ON_ITS_WAY_S + 0.1)
    house.server.remove("pods", "ns", "a")
    await house.clock.advance(1)
    assert len(house.planner.shown) >= 5
    assert all(observed.object is None for observed in house.planner.shown)
    assert len(reads_of_jobs(house)) == 1
    house.server.remove("pods", "ns", "b")
    await house.clock.advance(1)
    assert len(reads_of_jobs(house)) == 1


async def test_a_pod_that_somebody_took_away_is_not_made_again_from_an_old_view(house: House) -> None:
    """Another leader deletes the pods of an attempt that is over; this one has not heard that it is."""
    house.job()
    await house.start()
    await house.until(seen=2)
    await house.clock.advance(5)
    for watch in house.server.watches:
        watch.silent = watch._target.info.plural == "trainingjobs"
    house.server.merge("trainingjobs", "ns", "j", {"spec": {"changed": True}})
    house.server.remove("pods", "ns", "j-0")
    await house.clock.advance(20)
    assert [pod["metadata"]["name"] for pod in house.server.all("pods")] == ["j-1"]
