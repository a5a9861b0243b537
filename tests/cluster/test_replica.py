"""A whole replica on the API server in memory, with a planner of a few lines: what the shell owes to every kind."""

from __future__ import annotations

from holdfast.api import labels
from holdfast.api.wire import Command, Report
from holdfast.cluster.expectations import EXPIRY_S
from holdfast.seams import ApiError
from tests.support.apiserver_faults import matching
from tests.support.clock import SeededSpawner, run_until
from tests.support.house import House


async def test_pods_are_created_once_and_the_status_follows(house: House) -> None:
    house.server.watch_lag = lambda: 3.0
    house.job()
    await house.start()
    await house.until(seen=2)
    await house.clock.advance(60)
    creates = [path for method, path in house.server.writes() if method == "POST" and path.endswith("/pods")]
    assert len(creates) == 2, "a cache that lags by seconds leads to no second create"


async def test_an_idle_operator_writes_nothing(house: House) -> None:
    house.job()
    await house.start()
    await house.until(seen=2)
    await house.clock.advance(60)
    before = house.server.writes()
    await house.clock.advance(3600)
    assert house.server.writes() == before


async def test_a_restart_writes_nothing(house: House) -> None:
    house.job()
    first = await house.start()
    await house.until(seen=2)
    await house.clock.advance(5)
    stopping = SeededSpawner().spawn(first.stop(), name="stop")
    await run_until(house.clock, stopping.done, limit_s=10)
    before = [write for write in house.server.writes() if "/events" not in write[1]]
    second = await house.start("op-1")
    await run_until(house.clock, lambda: second.elector.leading, limit_s=20)
    await house.clock.advance(60)
    after = [write for write in house.server.writes() if "/events" not in write[1]]
    assert after == before


async def test_a_pod_that_vanishes_is_noticed(house: House) -> None:
    house.job()
    await house.start()
    await house.until(seen=2)
    house.server.remove("pods", "ns", "j-1")
    await run_until(house.clock, lambda: len(house.server.all("pods")) == 2, limit_s=10)


async def test_only_the_leader_plans_and_the_standby_takes_over_warm(house: House) -> None:
    await house.start("op-0")
    await house.clock.advance(1)
    standby = await house.start("op-1")
    house.job()
    await house.until(seen=2)
    assert standby.watched.synced
    assert not standby.health.unready()
    lists = house.server.requests.count(("GET", "/api/v1/pods"))
    await house.power[0].stop()
    house.server.remove("pods", "ns", "j-0")
    await run_until(house.clock, lambda: len(house.server.all("pods")) == 2, limit_s=30)
    assert standby.elector.leading
    after = house.server.requests.count(("GET", "/api/v1/pods"))
    # One list is the new leader's question what its predecessor made; the caches were filled all along.
    assert after == lists + 1


async def test_a_refusal_is_shown_to_the_next_plan_and_forgotten_after_success(house: House) -> None:
    house.server.store.deny = lambda info, document: (
        ApiError(403, "Forbidden", "quota") if info.plural == "pods" else None
    )
    house.job()
    await house.start()
    await house.until(refused=2)
    house.server.store.deny = lambda info, document: None
    await house.until(refused=0, seen=2)


async def test_the_answer_to_a_dry_run_comes_with_the_next_plan(house: House) -> None:
    house.planner.ask = True
    house.job()
    await house.start()
    await house.until(seen=2)
    answered = [observed for observed in house.planner.shown if observed.dry_run is not None]
    assert answered
    assert answered[0].dry_run is not None
    assert answered[0].dry_run.accepted
    asked = [path for method, path in house.server.requests if method == "POST" and path.endswith("/pods")]
    assert len(asked) == 3, "one question and two pods"


async def test_since_when_an_object_waits_is_remembered(house: House) -> None:
    house.server.store.deny = lambda info, document: ApiError(403, "Forbidden", "") if info.plural == "pods" else None
    house.job()
    await house.start()
    await house.clock.advance(30)
    waits = [observed.waiting for observed in house.planner.shown if observed.waiting is not None]
    assert len(waits) > 2
    assert len(set(waits)) == 1, "the same wait has one beginning"
    assert waits[0] is not None
    assert waits[0][0] == "pods"


async def test_a_planner_that_raises_hurts_only_its_own_object(house: House) -> None:
    house.job("broken", broken=True)
    house.job("j")
    replica = await house.start()
    await house.until(seen=2)
    assert house.status("broken") == {}
    assert not replica.health.problems()


async def test_a_watch_that_shows_nothing_delays_but_doubles_nothing(house: House) -> None:
    """An expectation that is never met expires; what then looks missing is looked for; the watch is renewed."""
    await house.start()
    await run_until(house.clock, lambda: len(house.server.watches) == 7, limit_s=5)
    for watch in house.server.watches:
        watch.silent = watch._target.info.plural == "pods"
    house.job()
    await house.clock.advance(1)
    assert len(house.server.all("pods")) == 2
    plans = len(house.planner.shown)
    await house.clock.advance(EXPIRY_S - 6)
    assert len(house.planner.shown) == plans
    creates = [request for request in house.server.writes() if request[0] == "POST"]
    await house.clock.advance(10)
    # Looked at again after ever longer pauses, and never created again.
    assert plans < len(house.planner.shown) < plans + 10
    assert [request for request in house.server.writes() if request[0] == "POST"] == creates
    assert len(house.server.all("pods")) == 2
    await house.until(seen=2)


async def test_commands_reach_the_pod_until_it_is_gone(house: House) -> None:
    house.job()
    replica = await house.start()
    await house.until(seen=2)
    uid = house.server.all("pods")[0]["metadata"]["uid"]
    house.planner.order = (Command(id="1", kind="Drain", deadline=""),)
    house.server.merge("trainingjobs", "ns", "j", {"spec": {"suspend": True}})
    await run_until(house.clock, lambda: bool(replica.commands.of(uid)), limit_s=5)
    house.planner.order = ()
    house.server.merge("trainingjobs", "ns", "j", {"spec": {"suspend": False}})
    await run_until(house.clock, lambda: not replica.commands.of(uid), limit_s=5)


async def test_a_report_wakes_its_object_only_where_it_says_something_new(house: House) -> None:
    house.job()
    replica = await house.start()
    await house.until(seen=2)
    await house.clock.advance(5)
    pod = house.server.all("pods")[0]
    uid = pod["metadata"]["uid"]
    report = Report(
        role="Sidecar", namespace="ns", job="j", job_uid="", attempt=1, slot="0-0", pod_name=pod["metadata"]["name"],
        pod_uid=uid, sequence=1, phase="Watching", last_complete=10,
    )  # fmt: skip
    before = len(house.planner.shown)
    replica.inbox.put(report)
    await house.clock.advance(1)
    assert len(house.planner.shown) == before + 1
    assert house.planner.shown[-1].reports[uid].report.last_complete == 10
    house.server.remove("pods", "ns", pod["metadata"]["name"])
    await house.clock.advance(1)
    assert replica.inbox.newest(uid) is None


async def test_a_node_wakes_those_who_run_on_it_and_heartbeats_wake_nobody(house: House) -> None:
    house.server.put("nodes", {"metadata": {"name": "n-1"}, "spec": {}})
    house.job()
    await house.start()
    await house.until(seen=2)
    house.server.merge("pods", "ns", "j-0", {"spec": {"nodeName": "n-1"}})
    await house.clock.advance(2)
    before = len(house.planner.shown)
    house.server.merge("nodes", "", "n-1", {"metadata": {"annotations": {"beat": "1"}}})
    await house.clock.advance(2)
    assert len(house.planner.shown) == before
    house.server.merge("nodes", "", "n-1", {"spec": {"taints": [{"key": "dead", "effect": "NoExecute"}]}})
    await house.clock.advance(2)
    assert len(house.planner.shown) == before + 1
    assert house.planner.shown[-1].nodes["n-1"].spec.taints[0].key == "dead"


async def test_an_api_server_that_loses_answers_all_the_time_changes_nothing_about_the_end(house: House) -> None:
    for number in range(6):
        house.job(f"j-{number}")
    for method in ("POST", "PATCH", "PUT", "GET"):
        house.server.faults.lose_answer(matching(method), times=15)
    await house.start()
    for number in range(6):
        await house.until(name=f"j-{number}", seen=2)
    assert len(house.server.all("pods")) == 12


async def test_leadership_lost_in_the_middle_of_a_pass_ends_it(house: House) -> None:
    house.job()
    replica = await house.start()
    await run_until(house.clock, lambda: replica.elector.leading, limit_s=5)
    house.server.faults.down = True
    await house.clock.advance(15)
    assert not replica.elector.leading
    house.server.faults.down = False
    house.server.merge("leases", "system", "holdfast-operator", {"spec": {"holderIdentity": "x", "renewTime": "y"}})
    before = house.server.writes()
    await house.clock.advance(10)
    assert house.server.writes() == before
    await house.until(seen=2)


async def test_those_who_wait_are_planned_when_something_comes_free_but_not_for_every_pod(house: House) -> None:
    marks = {labels.MANAGED_BY: labels.MANAGED_BY_VALUE, labels.JOB_NAME: "another"}
    for number in range(50):
        house.server.put("pods", {"metadata": {"name": f"x-{number}", "namespace": "ns", "labels": marks}, "spec": {}})
    house.server.store.deny = lambda info, document: ApiError(403, "Forbidden", "") if info.plural == "pods" else None
    house.job()
    await house.start()
    await house.clock.advance(300)
    before = len([observed for observed in house.planner.shown if observed.name == "j"])
    for number in range(50):
        house.server.remove("pods", "ns", f"x-{number}")
        await house.clock.advance(0.02)
    await house.clock.advance(0.6)
    after = len([observed for observed in house.planner.shown if observed.name == "j"])
    assert 1 <= after - before <= 5
