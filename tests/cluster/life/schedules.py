"""Random schedules of faults, each from a seed: whatever happens to a job, in whatever order, it ends whole.

make schedules SEEDS=17        one seed, with all that happened in it
make schedules SEEDS=1-5000    many of them
"""

from __future__ import annotations

import asyncio
import logging
import random
import sys
import tempfile
from collections.abc import Awaitable, Callable, Iterable
from pathlib import Path

from holdfast.seams import ApiError
from tests.cluster.life.pool import pool
from tests.cluster.life.process import When
from tests.cluster.life.stories import VOLUMES
from tests.cluster.life.world import World
from tests.support.apiserver_faults import Match, matching
from tests.support.bucket import RandomFaults
from tests.support.clock import SeededRandom, run_until

TOTAL, EVERY = 20, 4
EVENTS = 7
WRITES: tuple[Match, ...] = (
    matching("POST", "/pods"),
    matching("POST", "/services"),
    matching("PUT", "/status"),
    matching("PATCH", "/services"),
    matching("DELETE", "/pods"),
    matching("PUT", "/leases"),
    matching("GET", ""),
)
MUTATIONS: tuple[tuple[str, Match], ...] = (
    ("create of a pod", matching("POST", "/pods")),
    ("create of a pod", matching("POST", "/pods")),
    ("write of a status", matching("PATCH", "/status")),
    ("delete of a pod", matching("DELETE", "/pods")),
    ("change of a Service", matching("PATCH", "/services")),
    ("change of a job", matching("PATCH", "/trainingjobs")),
)
HELD_S = (0.5, 3.0, 6.0, 30.0)
WHENS: tuple[When, ...] = ("before", "after")


class Schedule:
    """What befalls one job. `told` says what was done, and when."""

    def __init__(self, seed: int, world: World) -> None:
        self.choice = random.Random(seed)
        self.world = world
        self.told: list[str] = []
        self._born_nodes = 3
        self._reborn = 0
        self._begun: list[Callable[[], Awaitable[None]]] = [
            self.kill_worker, self.kill_worker, self.kill_operator, self.kill_operator_at_a_call, self.kill_in_a_pod,
            self.lose_answers, self.refuse, self.delay_answers, self.trouble_bucket, self.disturb_watches,
            self.lag_watches, self.power_off, self.cut_off, self.suspend_a_while, self.delete_and_apply_again,
            self.believe_to_lead, self.hold_requests, self.die_behind_a_request, self.die_behind_a_request,
            self.hold_answers, self.repeat_requests,
        ]  # fmt: skip

    async def run(self) -> None:
        self.world.apply(recovery={"maxRestarts": 50, "backoff": {"initial": "1s", "max": "5s"}})
        for _ in range(EVENTS):
            await self.world.clock.advance(self.choice.uniform(0, 9))
            await self.choice.choice(self._begun)()
        await self.heal()
        await self.world.until_phase("Succeeded", limit_s=3600)
        # What was created late goes at sight; a watch that tells nothing may put that off.
        await run_until(self.world.clock, lambda: not self.world.promises.stale, limit_s=300)

    def tell(self, what: str) -> None:
        self.told.append(f"{self.world.clock.elapsed:.2f} {what}")

    async def kill_worker(self) -> None:
        machines = [machine for machine in self.world.kubelet.machines.values() if not machine.gone]
        if machines:
            machine = self.choice.choice(machines)
            self.tell(f"trainer of {machine.name} killed")
            machine.finish(137)

    async def kill_operator(self) -> None:
        if self.world.replicas:
            process = self.choice.choice(self.world.replicas)[1]
            self.tell(f"{process.name} killed")
            process.kill()

    async def kill_operator_at_a_call(self) -> None:
        if (found := self.world.leader()) is not None:
            fuse = self.world.fuses[found[1].name]
            fuse.light(self.choice.randint(1, 6), self.choice.choice(WHENS))
            self.tell(f"{found[1].name} dies {fuse.when} call {fuse.at}")

    async def kill_in_a_pod(self) -> None:
        fuse = self.world.kubelet.fuse
        fuse.light(self.choice.randint(1, 40), self.choice.choice(WHENS))
        self.tell(f"a process in a pod dies {fuse.when} call {fuse.at}")

    async def lose_answers(self) -> None:
        for match in self.choice.sample(WRITES, 3):
            self.world.server.faults.lose_answer(match, times=self.choice.randint(1, 3))
        self.tell("answers get lost")

    async def refuse(self) -> None:
        error = self.choice.choice((ApiError(503, "ServiceUnavailable", ""), ApiError(429, "TooManyRequests", "")))
        for match in self.choice.sample(WRITES, 3):
            self.world.server.faults.refuse(match, error, times=self.choice.randint(1, 3))
        self.tell(f"requests are refused with {error.status}")

    async def delay_answers(self) -> None:
        longest, seconds = self.choice.choice((0.5, 3.0, 6.0)), self.choice.uniform(2, 20)
        slow = random.Random(self.choice.random())
        self.world.server.faults.latency = lambda method, path: slow.uniform(0, longest)
        self.tell(f"requests take up to {longest} s for {seconds:.0f} s")

        async def end() -> None:
            self.world.server.faults.latency = lambda method, path: 0.0

        self._later(seconds, end)

    async def hold_requests(self) -> None:
        """Requests arrive late: others overtake them, and who sent them has given up, or lost the lease meanwhile."""
        seconds = self.choice.choice(HELD_S)
        self._stale_creates()
        for match in self.choice.sample(WRITES, 2):
            self.world.server.faults.hold_request(match, seconds, times=self.choice.randint(1, 3))
        self.tell(f"requests arrive {seconds:.0f} s late")

    async def die_behind_a_request(self) -> None:
        """A write is on its way when its sender dies. It is carried out when another one leads and has acted."""
        late, dies_s = self.choice.uniform(2, 40), self.choice.uniform(0, 1)
        what, match = self.choice.choice(MUTATIONS)
        self._stale_creates()

        def sent(method: str, path: str) -> bool:
            found = self.world.leader()
            if found is None or not match(method, path):
                return False
            self.tell(f"{found[1].name} dies behind a {what}, which arrives {late:.1f} s late")

            async def die() -> None:
                found[1].kill()

            self._later(dies_s, die)
            return True

        self.world.server.faults.hold_request(sent, late)
        self.tell(f"who sends the next {what} will die")

    async def hold_answers(self) -> None:
        seconds = self.choice.choice(HELD_S)
        for match in self.choice.sample(WRITES, 3):
            self.world.server.faults.hold_answer(match, seconds, times=self.choice.randint(1, 3))
        self.tell(f"answers come {seconds:.0f} s late")

    async def repeat_requests(self) -> None:
        for match in self.choice.sample(WRITES, 3):
            self.world.server.faults.repeat(match, times=self.choice.randint(1, 4))
        self.tell("requests are sent twice")

    async def trouble_bucket(self) -> None:
        kubelet, seconds = self.world.kubelet, self.choice.uniform(2, 20)
        kubelet.bucket_faults.faults = RandomFaults(
            SeededRandom(self.choice.randint(1, 10**6)), self.world.clock, lost_request=0.2, lost_answer=0.2
        )
        self.tell(f"the bucket is in trouble for {seconds:.0f} s")

        async def end() -> None:
            kubelet.bucket_faults.faults = None

        self._later(seconds, end)

    async def disturb_watches(self) -> None:
        server = self.world.server
        if self.choice.random() < 0.3:
            server.store.compact()
        for watch in list(server.watches):
            what = self.choice.choice(("silent", "end", "tear", "expire", "nothing"))
            if what == "silent":
                watch.silent = True
            elif what == "expire":
                watch.fail(410, "Expired")
            elif what != "nothing":
                watch.end() if what == "end" else watch.tear()
        self.tell("watches are disturbed")

    async def lag_watches(self) -> None:
        longest, seconds = self.choice.choice((0.3, 2.0, 5.0)), self.choice.uniform(5, 30)
        slow = random.Random(self.choice.random())
        self.world.server.watch_lag = lambda: slow.uniform(0, longest)
        self.tell(f"watches lag by up to {longest} s for {seconds:.0f} s")

        async def end() -> None:
            self.world.server.watch_lag = lambda: 0.0

        self._later(seconds, end)

    async def power_off(self) -> None:
        kubelet = self.world.kubelet
        node = self.choice.choice(kubelet.nodes)
        self.tell(f"{node} is switched off")
        self._born_nodes += 1
        self.world.add_node(f"n{self._born_nodes}")
        kubelet.power_off(node)

    async def cut_off(self) -> None:
        kubelet = self.world.kubelet
        whole = [node for node in kubelet.nodes if node not in kubelet.cut]
        if len(whole) < 2:
            return
        node, seconds = self.choice.choice(whole), self.choice.choice((5.0, 30.0, 90.0))
        self.tell(f"{node} is cut off for {seconds:.0f} s")
        kubelet.cut_off(node)

        async def end() -> None:
            if node in kubelet.nodes:
                kubelet.reconnect(node)

        self._later(seconds, end)

    async def suspend_a_while(self) -> None:
        if self.world.job() is None:
            return
        seconds = self.choice.uniform(0, 20)
        self.tell(f"suspended for {seconds:.1f} s")
        self.world.patch(suspend=True)
        await self.world.clock.advance(seconds)
        await self._resume()

    async def _resume(self) -> None:
        if self.world.job() is not None:
            self.world.patch(suspend=False)

    async def delete_and_apply_again(self) -> None:
        world = self.world
        if world.job() is None or self._reborn:
            return
        self._reborn = 1
        self.tell("deleted and applied again")
        world.delete()

        async def again() -> None:
            while world.job() is not None:
                await world.clock.sleep(0.5)
            world.apply(recovery={"maxRestarts": 50, "backoff": {"initial": "1s", "max": "5s"}})

        world.spawner.spawn(again(), name="again")

    async def believe_to_lead(self) -> None:
        """A follower believes for a while that it leads, too."""
        followers = [item for item in self.world.replicas if not item[0].elector.leading]
        if followers:
            seconds = self.choice.choice((10.0, 70.0))
            replica, process = self.choice.choice(followers)
            self.tell(f"{process.name} believes to lead for {seconds:.0f} s")
            # With a watch that tells it nothing, it may make such a pod, too.
            self._stale_creates()
            self.world.believe(replica, process, seconds)

    async def heal(self) -> None:
        """Nothing new goes wrong from here on; what was begun may still end."""
        world = self.world
        self.tell("no further faults")
        world.server.faults.reset()
        world.server.watch_lag = lambda: 0.0
        world.kubelet.bucket_faults.faults = None
        world.kubelet.fuse.light(0, "before")
        for fuse in world.fuses.values():
            fuse.light(0, "before")
        for node in sorted(world.kubelet.cut & set(world.kubelet.nodes)):
            world.kubelet.reconnect(node)
        await run_until(world.clock, lambda: world.job() is not None, limit_s=3600)
        await self._resume()

    def _stale_creates(self) -> None:
        """A create that comes too late may make a pod of an attempt that is over: that must go at sight."""
        self.world.promises.stale_creates = True

    def _later(self, seconds: float, what: Callable[[], Awaitable[None]]) -> None:
        async def wait() -> None:
            await self.world.clock.sleep(seconds)
            await what()

        self.world.spawner.spawn(wait(), name="later")


def problem(seed: int) -> str:
    """Live one schedule; return what is wrong with it, or nothing."""
    logging.disable(logging.CRITICAL)
    told: list[str] = []
    try:
        with tempfile.TemporaryDirectory(prefix="hf-", dir=VOLUMES) as folder:
            asyncio.run(_live(seed, Path(folder), told))
    except Exception as error:  # noqa: BLE001 - whatever it is, it is told with the command that shows it again
        what = "\n  ".join([*told, f"{type(error).__name__}: {error}"])
        return f"make schedules SEEDS={seed}\n  {what}"
    finally:
        logging.disable(logging.NOTSET)
    return ""


async def _live(seed: int, folder: Path, told: list[str]) -> None:
    world = World(seed, folder, total_steps=TOTAL, every_steps=EVERY)
    schedule = Schedule(seed, world)
    schedule.told = told
    try:
        await world.start()
        await schedule.run()
        world.check_whole()
    finally:
        await world.stop()


def problems(seeds: Iterable[int]) -> list[str]:
    """Live many schedules, on all processors, and return what is wrong with them."""
    return [found for found in pool().map(problem, seeds, chunksize=5) if found]


def seeds_of(text: str) -> range:
    """Return the seeds of `17` or `1-500`."""
    first, _, last = text.partition("-")
    return range(int(first), int(last or first) + 1)


def main(arguments: list[str]) -> int:
    seeds = seeds_of(arguments[0] if arguments else "1-500")
    wrong = problems(seeds) if len(seeds) > 1 else [found for seed in seeds if (found := problem(seed))]
    print("\n".join(wrong), f"{len(seeds)} schedules, {len(wrong)} of them wrong", sep="\n")
    return 1 if wrong else 0


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
