"""Restore rounds: how all slots of a run agree on one commit without anybody who leads.

The plan of a round is an object that is created once, so it does not matter who proposes. Each slot says `Ok` once it
holds its part of the commit, verified, or `Veto` with the proof of damage. All `Ok` makes the round agreed; one veto
allows the next round, which names the next older commit of the chain.
"""

from __future__ import annotations

from collections.abc import AsyncIterator, Awaitable, Callable
from dataclasses import dataclass
from typing import Final, Protocol

from holdfast.api.wire import Damage, SidecarConfig
from holdfast.checkpoint import layout
from holdfast.checkpoint.chain import Chain
from holdfast.checkpoint.manifests import OK, CommitRef, Inventory, Plan, PlanKind, Verdict, decode, encode
from holdfast.checkpoint.store.create import create_once
from holdfast.checkpoint.survey import Survey, is_ok
from holdfast.checkpoint.verify import find
from holdfast.seams import ObjectStore

# How many committed steps a refusal names.
_TOLD: Final = 10


@dataclass(frozen=True, slots=True)
class Tally:
    """What the slots have said to a round so far."""

    ok: int
    vetoes: tuple[Verdict, ...]


@dataclass(frozen=True, slots=True)
class Round:
    """A round's number and its plan."""

    number: int
    plan: Plan


class History(Protocol):
    """The chain, as far as a decision needs it; each answer may cost requests."""

    async def head(self) -> Plan | None:
        """Return the newest agreed plan."""

    async def fresh(self) -> bool:
        """Say whether the chain began with nothing by agreement."""

    def commits(self) -> AsyncIterator[CommitRef]:
        """Yield its commits, the newest first."""

    async def find(self, step: int) -> CommitRef | None:
        """Return the newest commit of a step."""


async def choose(
    config: SidecarConfig, chain: History, prefix_has_commits: Callable[[], Awaitable[bool]], previous: Plan | None
) -> Plan:
    """Decide what a round proposes. `previous` is the plan of the round that was vetoed, None in the first round.

    An order is served once: where the newest agreed round already carries this job's UID and this order's digest, the
    newest commit of the chain is followed instead.
    """
    order, head = config.restore, await chain.head()
    served = head is not None and (head.job_uid, head.digest) == (config.job_uid, order.digest)

    def plan(commit: CommitRef | None) -> Plan:
        kind: PlanKind = "Fresh" if commit is None else "Commit"
        return Plan(kind=kind, commit=commit, job_uid=config.job_uid, digest=order.digest)

    if previous is not None and previous.commit is not None:
        limit = (previous.commit.run, previous.commit.step)
        async for ref in chain.commits():
            if (ref.run, ref.step) < limit:
                return plan(ref)
        return Plan(
            kind="NoRestorableCheckpoint",
            message="every committed checkpoint that this job could go on from is damaged: repair the objects named in "
            "the damages, or set restore.policy to None to start from nothing",
        )
    if not served and order.policy == "None":
        return plan(None)
    if not served and order.policy == "Step":
        assert order.step is not None, "checked where the configuration is read"
        wanted = await chain.find(order.step)
        if wanted is not None:
            return plan(wanted)
        there = ", ".join([str(ref.step) for ref in await _first(chain, _TOLD)]) or "none"
        return Plan(
            kind="Refused",
            message=f"step {order.step} is not committed: set restore.step to one of the committed steps ({there})",
        )
    if newest := await _first(chain, 1):
        return plan(newest[0])
    if await chain.fresh() or not await prefix_has_commits():
        return plan(None)
    return Plan(
        kind="NoRestorableCheckpoint",
        message="the destination holds commits, but the records of the restore rounds that lead to them are gone: "
        "restore those objects, or set restore.policy to None to start from nothing",
    )


async def _first(chain: History, number: int) -> list[CommitRef]:
    found: list[CommitRef] = []
    async for ref in chain.commits():
        found.append(ref)
        if len(found) == number:
            break
    return found


async def enrol(store: ObjectStore, run: int, slot: str, steps: tuple[int, ...]) -> None:
    """Say that this slot takes part, and what it has on its own volume."""
    await create_once(store, layout.inventory(run, slot), encode(Inventory(slot=slot, steps=steps)))


async def enrolled(store: ObjectStore, run: int) -> list[str]:
    """Return the slots that take part so far, sorted."""
    folder = layout.inventory_folder(run)
    return [info.name[len(folder) :].removesuffix(".json") for info in await store.list(folder)]


async def find_plan(store: ObjectStore, run: int, round_: int) -> Plan | None:
    """Return the plan of a round, or None while there is none."""
    return await find(store, layout.plan(run, round_), Plan)


async def propose(store: ObjectStore, config: SidecarConfig, run: int, round_: int, previous: Plan | None) -> Plan:
    """Choose and write a round's plan, and return the one that the bucket then holds, whoever wrote it."""
    seen = Survey(store)
    wanted = await choose(config, Chain(seen, run - 1), lambda: seen.any_commit(run), previous)
    name = layout.plan(run, round_)
    created = await create_once(store, name, encode(wanted))
    return decode(name, created.data, Plan)


async def speak(store: ObjectStore, run: int, round_: int, slot: str, verdict: Verdict) -> Verdict:
    """Give this slot's one verdict, and return it; one that it gave before stands."""
    name = layout.verdict(run, round_, slot)
    created = await create_once(store, name, OK if verdict.verdict == "Ok" else encode(verdict))
    return decode(name, created.data, Verdict)


async def own_verdict(store: ObjectStore, run: int, round_: int, slot: str) -> Verdict | None:
    """Return the verdict that this slot gave before it was started again, or None."""
    return await find(store, layout.verdict(run, round_, slot), Verdict)


async def tally(store: ObjectStore, run: int, round_: int) -> Tally:
    """Count a round's verdicts; only those that are not plainly `Ok` are read."""
    ok, vetoes = 0, []
    for info in await store.list(layout.verdict_folder(run, round_)):
        if is_ok(info):
            ok += 1
            continue
        data, _ = await store.get(info.name)
        verdict = decode(info.name, data, Verdict)
        if verdict.verdict == "Veto":
            vetoes.append(verdict)
        else:
            ok += 1
    return Tally(ok, tuple(vetoes))


def damages(plan: Plan, vetoes: tuple[Verdict, ...]) -> tuple[Damage, ...]:
    """Return what the vetoes of a round proved, as it is reported."""
    if plan.commit is None:
        return ()
    run, step = plan.commit.run, plan.commit.step
    return tuple(Damage(run=run, step=step, object=veto.object, problem=veto.problem) for veto in vetoes)
