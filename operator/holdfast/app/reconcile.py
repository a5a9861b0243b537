"""One pass: observe, plan, carry out, and remember what the next pass must know.

What is remembered between passes (refusals, the answers to a dry run and a read, since when an object waits for the
same thing) is kept in memory only: after a restart the plans ask or wait anew, and come to the same end.
"""

from __future__ import annotations

import logging
from collections.abc import Awaitable, Callable, Iterator, Mapping
from dataclasses import dataclass, field, replace
from datetime import datetime

from holdfast.app.accepted import AcceptedForms
from holdfast.app.currency import Currency, ListFailed
from holdfast.app.kinds import Registration
from holdfast.app.missing_nodes import LOOK_AGAIN_S, MissingNodes
from holdfast.app.passes import PassNote, note
from holdfast.app.put_off import PutOff, Teller, lasting
from holdfast.app.watched import Watched
from holdfast.cluster.apply import Applier, ApplyResult
from holdfast.cluster.events import Owner
from holdfast.cluster.objects import Key
from holdfast.planning.observed import DryRunResult, Observed, ReadClaim, Received, Refusal, Settings
from holdfast.planning.plan import PODS, Create, Plan
from holdfast.reports.commands import CommandBoard
from holdfast.reports.inbox import Inbox
from holdfast.seams import ApiError, Clock
from holdfast.training.pools import NODE_POOL

logger = logging.getLogger(__name__)


@dataclass(slots=True)
class Memory:
    """What one object's passes leave for the next one.

    `current` says that the cache was found to be up to date since this replica leads, `pods_current` that of the pods.
    `doubted`: the object itself has to be read for that, as it is now, and `pods_doubted`: so have its pods.
    `put_off`: nothing is planned before that.
    `created` are the pods that were made for the attempt that the last passes knew: one that is to be made again has
    vanished, which is what another leader does to the pods of an attempt that is over.
    `unseen` are those that were made, or may have been, and that the cache has not shown since: they may still be there
    when the pods of the next attempt are to be made, or when all pods are to be gone.
    """

    refusals: tuple[Refusal, ...] = ()
    dry_run: DryRunResult | None = None
    read_claim: ReadClaim | None = None
    waiting: tuple[str, datetime] | None = None
    refreshed_at: datetime | None = None
    commanded: frozenset[str] = field(default_factory=frozenset)
    current: bool = False
    doubted: bool = False
    pods_current: bool = False
    pods_doubted: bool = False
    put_off: PutOff | None = None
    created: frozenset[str] = field(default_factory=frozenset)
    unseen: frozenset[str] = field(default_factory=frozenset)
    last: PassNote | None = None

    def doubt(self) -> None:
        """Have the API server asked anew whether the caches show the object and its pods as they are."""
        self.created = frozenset()
        self.current, self.pods_current = False, False
        self.doubted, self.pods_doubted = True, True


@dataclass(frozen=True, slots=True)
class Outcome:
    """What the queue has to do next for the key.

    `alarm_s`: come again after that time. `retry`: come again after a back-off. `again`: come again at once.
    `begun`: this was only the beginning; the work comes with the next pass, which is made as soon as it can be.
    `planning_s` is how long looking and planning took, apart from requests.
    """

    alarm_s: float | None = None
    retry: bool = False
    again: bool = False
    begun: bool = False
    result: ApplyResult | None = None
    planning_s: float = 0.0


class Reconciler:
    """Makes passes. One at a time for one key; the queue sees to that.

    `leading_since` is set by whoever knows the lease; plans are handed it.
    """

    def __init__(
        self,
        watched: Watched,
        applier: Applier,
        inbox: Inbox,
        commands: CommandBoard,
        missing_nodes: MissingNodes,
        currency: Currency,
        clock: Clock,
        settings: Callable[[], Settings],
    ) -> None:
        self._watched = watched
        self._applier = applier
        self._inbox = inbox
        self._commands = commands
        self._missing_nodes = missing_nodes
        self._currency = currency
        self._clock = clock
        self._settings = settings
        self._accepted = AcceptedForms(clock)
        self._teller = Teller(clock)
        self.leading_since: datetime | None = None
        self._memories: dict[tuple[Registration, Key], Memory] = {}
        # Objects that are gone while some of their pods were never seen: the next one of that name may meet them.
        self._left_unseen: set[tuple[Registration, Key]] = set()

    async def reconcile(self, registration: Registration, key: Key) -> Outcome:
        """Make one pass for one object. Raises `LeadershipLost`."""
        slot = (registration, key)
        # A new leader counts from its start: taking over is no reason to write.
        if (memory := self._memories.get(slot)) is None:
            memory = Memory(refreshed_at=self._clock.now(), pods_doubted=slot in self._left_unseen)
            self._memories[slot] = memory
        # Of what no cache knows there is nothing to plan, and nothing to ask: were it only unseen, its change wakes it.
        known = self._owner(registration, key) is not None
        if known and not memory.current and (put_off := await self._is_current(slot, memory)) is not None:
            return put_off
        owner = self._owner(registration, key)
        if owner is None:
            self._forget(slot, memory)
            return Outcome()
        wait_s = self._watched.expectations.wait_s(owner.uid)
        if wait_s > 0:
            return Outcome(alarm_s=wait_s)
        # Asked after the wait, so that none can run out between the two questions.
        if self._watched.expectations.expired(owner.uid):
            memory.doubt()
            return Outcome(again=True)
        began = self._clock.monotonic()
        observed = self._observe(registration, key, memory)
        # Not the difference of two sets: for that all nodes would be gone through.
        bound = {pod.spec.node_name for pod in observed.pods}
        unseen = {name for name in bound if name and name not in observed.nodes}
        if unseen:
            observed = replace(observed, nodes={**observed.nodes, **await self._missing_nodes.find(unseen)})
            began = self._clock.monotonic()
        if memory.refusals:
            memory.refusals = tuple(item for item in memory.refusals if not self._exists(item, owner))
            observed = replace(observed, refusals=memory.refusals)
        plan = registration.plan(observed, self._clock.now())
        made = _new_pods(plan)
        if (stop := await self._shows_pods(slot, made, memory)) is not None:
            return stop
        memory.put_off = None
        self._watched.plan_pools(key, _pools_of(plan))
        self._command(plan, memory)
        planning_s = self._clock.monotonic() - began
        # Also where the pass is cut off: nobody knows then how far it has come.
        memory.unseen |= made
        result = await self._applier.apply(plan, owner)
        memory.unseen -= made - {name for resource, name in result.made if resource == PODS}
        self._remember(plan, result, memory)
        memory.last = note(plan, result, self._clock.now())
        if result.complete:
            memory.created = made if plan.write_ahead is not None else memory.created | made
        again = result.dry_run is not None or result.read_claim is not None
        retry = result.conflict or bool(result.failures) or bool(result.refusals)
        alarms = [] if plan.requeue_after_s is None else [plan.requeue_after_s]
        if unseen & observed.nodes.keys():
            alarms.append(LOOK_AGAIN_S)
        begun = again or plan.write_ahead is not None
        return Outcome(min(alarms, default=None), retry, again, begun, result, planning_s)

    def waiting(self) -> list[tuple[Registration, Key]]:
        """Return the objects whose last plan waits for something."""
        return [slot for slot, memory in self._memories.items() if memory.waiting is not None]

    def memories(self) -> Mapping[tuple[Registration, Key], Memory]:
        """Return what is remembered, for `/debug/state`."""
        return self._memories

    def forget_all(self) -> None:
        """Start anew: another replica leads now."""
        for memory in self._memories.values():
            self._commands.drop(memory.commanded)
        self._memories.clear()
        self._left_unseen.clear()
        self._watched.pools.forget_plans()
        self._currency.forget()
        self._accepted.clear()

    def put_offs(self) -> list[tuple[Key, PutOff]]:
        """Return the objects that have been put off for long enough to be told."""
        return lasting(self._put_offs(), self._clock.now())

    def tell_put_offs(self) -> None:
        """Write to the log which these are, where it is time to."""
        if self._teller.due:
            self._teller.tell(self._put_offs())

    def _put_offs(self) -> Iterator[tuple[Key, PutOff | None]]:
        return ((key, memory.put_off) for (_, key), memory in self._memories.items())

    async def _is_current(self, slot: tuple[Registration, Key], memory: Memory) -> Outcome | None:
        """Make sure, once in a term, that the cache shows what the last leader wrote. Its next change wakes the key."""
        ask = self._currency.shown_now if memory.doubted else self._currency.shown
        put_off = await self._asked(slot, memory, ask(*slot))
        memory.current = put_off is None
        memory.doubted = memory.doubted and not memory.current
        return put_off

    async def _shows_pods(self, slot: tuple[Registration, Key], made: frozenset[str], memory: Memory) -> Outcome | None:
        """Make sure that the plan was made from all pods there are.

        None that is to be made may meet one that is unseen, and none may be taken for gone that was never seen.

        One list tells it for all objects of a term; pods that were made and never seen are asked for again.
        """
        if made & memory.created:
            # Somebody has taken away what this replica made: its view of the object may be an old one.
            memory.doubt()
            return Outcome(again=True)
        memory.pods_doubted = memory.pods_doubted or not memory.unseen <= made
        if not memory.pods_doubted:
            if not made or memory.pods_current:
                return None
            memory.pods_current = self._currency.known_to_show_pods(*slot)
            if memory.pods_current:
                return None
        ask = self._currency.shows_pods_now if memory.pods_doubted else self._currency.shows_pods
        put_off = await self._asked(slot, memory, ask(*slot))
        memory.pods_current = put_off is None
        if put_off is not None:
            return put_off
        memory.pods_doubted, memory.unseen = False, frozenset()
        self._left_unseen.discard(slot)
        # Others may have taken a node pool meanwhile: the plan is made anew.
        return Outcome(again=True)

    async def _asked(self, slot: tuple[Registration, Key], memory: Memory, question: Awaitable[bool]) -> Outcome | None:
        """Ask the API server about a cache. Return what to do next unless the answer is that all is shown."""
        namespace, name = slot[1]
        memory.put_off = put_off = memory.put_off or PutOff(self._clock.now())
        try:
            if await question:
                memory.put_off = None
                return None
            put_off.problem = "the cache is behind"
        except ListFailed as error:
            put_off.problem = str(error)
            return Outcome(alarm_s=error.again_s)
        except ApiError as error:
            put_off.problem = str(error)
        fields = {"namespace": namespace, "object": name, "problem": put_off.problem}
        logger.warning("pass.put_off", extra={"fields": fields})
        return Outcome(retry=True)

    def _observe(self, registration: Registration, key: Key, memory: Memory) -> Observed:
        watched = self._watched
        pods = tuple(watched.pods_of(registration, key))
        memory.unseen -= {pod.metadata.name for pod in pods}
        services = watched.services_of(registration, key)
        reports: dict[str, Received] = {}
        for pod in pods:
            if (received := self._inbox.newest(pod.metadata.uid)) is not None:
                reports[pod.metadata.uid] = received
        return Observed(
            namespace=key[0],
            name=key[1],
            settings=self._settings(),
            object=watched.objects[registration.resource].get(*key),
            pods=pods,
            service=services[0] if services else None,
            nodes=watched.node_objects,
            reports=reports,
            claims=tuple(watched.claims_of(registration, key)),
            storage_classes=watched.classes,
            read_claim=memory.read_claim,
            dry_run=memory.dry_run,
            accepted_forms=self._accepted,
            waiting=memory.waiting,
            refreshed_at=memory.refreshed_at,
            leading_since=self.leading_since,
            occupied_pools=watched.pools.occupied_by_others(key),
        )

    def _owner(self, registration: Registration, key: Key) -> Owner | None:
        """Return who the plan is about: the object, or the one that is gone whose pods are left. None: nothing is."""
        if (item := self._watched.objects[registration.resource].get(*key)) is not None:
            uid = item.metadata.uid
        elif pods := self._watched.pods_of(registration, key):
            uid = pods[0].metadata.controller_uid
        else:
            return None
        return Owner(registration.resource, key[0], key[1], uid)

    def _exists(self, refusal: Refusal, owner: Owner) -> bool:
        """Say whether what was refused once is seen to exist and to be the owner's: somebody's create came through."""
        seen = self._watched.look_up(refusal.resource, owner.namespace, refusal.name)
        return seen is not None and seen.owner_uid == owner.uid

    def _command(self, plan: Plan, memory: Memory) -> None:
        """Publish the plan's commands and withdraw those that it no longer names."""
        for uid, commands in plan.commands.items():
            self._commands.put(uid, commands)
        commanded = frozenset(plan.commands)
        self._commands.drop(memory.commanded - commanded)
        memory.commanded = commanded

    def _remember(self, plan: Plan, result: ApplyResult, memory: Memory) -> None:
        if result.creates or plan.write_ahead is not None:
            memory.refusals = tuple(result.refusals)
        if result.refusals:
            self._accepted.clear()
        if result.dry_run is not None:
            memory.dry_run = result.dry_run
            if plan.dry_run is not None and plan.dry_run.form and result.dry_run.accepted:
                self._accepted.add(plan.dry_run.form)
        if result.read_claim is not None:
            memory.read_claim = result.read_claim
        writes = (plan.write_ahead, plan.status)
        if result.complete and any(write is not None and write.wanted != write.observed for write in writes):
            memory.refreshed_at = self._clock.now()
        if not plan.waiting:
            memory.waiting = None
        elif memory.waiting is None or memory.waiting[0] != plan.waiting:
            memory.waiting = (plan.waiting, self._clock.now())

    def _forget(self, slot: tuple[Registration, Key], memory: Memory) -> None:
        self._commands.drop(memory.commanded)
        self._watched.plan_pools(slot[1], ())
        if memory.unseen or memory.pods_doubted:
            self._left_unseen.add(slot)
        del self._memories[slot]


def _new_pods(plan: Plan) -> frozenset[str]:
    """Return the names of the pods that the plan creates."""
    created = (action for action in plan.actions if isinstance(action, Create) and action.resource == PODS)
    return frozenset(str(action.manifest["metadata"]["name"]) for action in created)


def _pools_of(plan: Plan) -> set[str]:
    """Return the node pools that the plan's new pods are pinned to, and those that its next pods will be."""
    selectors = (
        action.manifest.get("spec", {}).get("nodeSelector") or {}
        for action in plan.actions
        if isinstance(action, Create) and action.resource == PODS
    )
    return {selector[NODE_POOL] for selector in selectors if NODE_POOL in selector} | set(plan.claims)
