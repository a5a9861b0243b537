"""What a replica makes of requests that fail: it comes again, slower and slower, and calls no failure a refusal."""

from __future__ import annotations

from holdfast.seams import ApiError
from tests.support.apiserver_faults import matching
from tests.support.clock import SeededSpawner, run_until
from tests.support.house import House


async def test_a_question_that_cannot_be_answered_is_asked_slower_and_slower(house: House) -> None:
    """A plan that wants to be made again at once gets its way only while nothing fails."""
    house.planner.ask = True
    house.planner.requeue_after_s = 0.0
    broken = ApiError(500, "InternalError", "failed calling webhook")
    house.server.faults.refuse(matching("POST", "/pods"), broken, times=100_000)
    house.job()
    await house.start()
    await house.clock.advance(300)
    assert 5 <= len(house.planner.shown) <= 25
    assert all(observed.dry_run is None for observed in house.planner.shown)


async def test_a_create_that_met_trouble_is_no_refusal_and_is_made_again_soon(house: House) -> None:
    house.server.faults.refuse(matching("POST", "/pods"), ApiError(500, "InternalError", "etcd"), times=14)
    house.job()
    await house.start()
    assert await house.until(seen=2) < 15
    assert all(observed.refusals == () for observed in house.planner.shown)


async def test_a_refusal_of_what_exists_by_now_is_forgotten(house: House) -> None:
    house.server.store.deny = lambda info, document: (
        ApiError(403, "Forbidden", "quota") if info.plural == "pods" else None
    )
    job = house.job()
    await house.start()
    await house.until(refused=2)
    house.planner.idle = True
    house.server.store.deny = lambda info, document: None
    for name in ("j-0", "j-1"):
        house.server.put("pods", house.planner.pod_of("ns", "j", job["metadata"]["uid"], name))
    await house.until(refused=0, seen=2)


async def test_the_refusal_of_a_name_that_somebody_else_holds_stands(house: House) -> None:
    for name in ("j-0", "j-1"):
        house.server.put("pods", house.planner.pod_of("ns", "j", "a-former-job", name))
    house.planner.blind = True
    house.job()
    await house.start()
    await house.until(refused=2)
    house.planner.idle = True
    await house.clock.advance(60)
    assert len(house.planner.shown[-1].refusals) == 2


async def test_the_delete_of_a_former_jobs_pod_is_seen_at_once(house: House) -> None:
    """Pods of a former job of the same name have another owner; what is expected of them is met all the same."""
    old = house.planner.pod_of("ns", "j", "a-former-job", "j-0")
    old["metadata"]["finalizers"] = ["keep"]
    house.server.put("pods", old)
    house.planner.replaces = True
    house.job()
    await house.start()
    assert await house.until(deleting=1) < 5


async def test_a_pass_under_way_ends_before_the_lease_is_given_back(house: House) -> None:
    house.server.faults.latency = lambda method, path: 1.0 if path.endswith("/pods") else 0.0
    house.job()
    replica = await house.start()
    # The pass that creates, and not the look at the pods that a new leader takes before it.
    await run_until(house.clock, lambda: any(method == "POST" for method, _ in house.server.writes()), limit_s=10)
    assert replica.engine.queue.busy == 1
    stopping = SeededSpawner().spawn(replica.stop(), name="stop")
    await run_until(house.clock, stopping.done, limit_s=10)
    assert house.status().get("seen") == 0, "the status is what a pass writes last"
    assert len(house.server.all("pods")) == 2
