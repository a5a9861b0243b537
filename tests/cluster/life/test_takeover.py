"""A replica takes the lead with a pods' watch that has shown it nothing for a while: that costs no attempt."""

from __future__ import annotations

from pathlib import Path

import pytest

from tests.cluster.life.world import World
from tests.support.apiserver_watch import Watch
from tests.support.clock import run_until


async def blind_standby(world: World) -> None:
    """Start two replicas, the second of which never hears of a pod."""
    await world.start()
    world.reborn = False
    await run_until(world.clock, lambda: world.leader() is not None, limit_s=10)
    await world.clock.advance(1)
    (standby,) = [process for replica, process in world.replicas if not replica.elector.leading]
    for watch in world.transports[standby.name].watches:
        assert isinstance(watch, Watch)
        watch.silent = watch._target.info.plural == "pods"


@pytest.fixture
async def world(tmp_path: Path) -> World:
    return World(1, tmp_path, total_steps=120, every_steps=20)


async def test_pods_that_a_new_leader_does_not_see_are_not_taken_for_deleted(world: World) -> None:
    await blind_standby(world)
    world.apply()
    await world.until_phase("Running")
    await world.clock.advance(2)
    await world.kill_leader()
    await world.until_phase("Succeeded")
    assert world.causes() == ["Succeeded"]
    world.check_whole()
    await world.stop()


async def test_a_pod_that_is_really_gone_is_noticed_all_the_same(world: World) -> None:
    await world.start()
    world.apply()
    await world.until_phase("Running")
    await world.clock.advance(3)
    world.server.remove("pods", "team", "digits-0-1-1")
    await world.until_phase("Succeeded")
    assert world.causes() == ["PodDeleted", "Succeeded"]
    world.check_whole()
    await world.stop()


async def test_a_new_leader_that_sees_no_pods_of_an_older_attempt_waits_for_them(world: World) -> None:
    await blind_standby(world)
    world.apply()
    await world.until_phase("Running")
    await world.clock.advance(3)
    found = world.leader()
    assert found is not None
    # The old leader writes the next attempt ahead and dies before it stops a pod of this one.
    leader = found[1]
    world.server.store.listeners.append(lambda _: leader.kill() if world.status().get("attempt") == 2 else None)
    machine = world.kubelet.machine("0-1", 1)
    assert machine is not None
    machine.finish(137)
    await run_until(world.clock, lambda: not leader.alive, limit_s=30)
    await world.until_phase("Succeeded")
    assert world.causes() == ["WorkerFailed", "Succeeded"]
    world.check_whole()
    await world.stop()
