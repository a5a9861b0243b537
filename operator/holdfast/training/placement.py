"""Which node pool each slice of several hosts gets.

Every slice is pinned to a whole free pool: free means that no pod of anybody else asks for its accelerators. Pools are
taken for all slices of a job at once or for none, so that two jobs never hold what the other one waits for. Where
too few are free, host 0 of each slice that lacks one leads: it is created alone, kept out of all pools that exist, so
that a new one is scaled up for it, and the other hosts follow into the pool that it was given. If enough pools become
free before that, the job is placed anew.

Pods race with the pods of others. A pool that somebody else holds while a slice is not yet whole in it is given up.
Slices of a single host need no pin: any matching node is a whole slice.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Mapping
from dataclasses import dataclass
from datetime import timedelta
from typing import Any, Final

from holdfast.api import labels as names
from holdfast.api.reasons import Reason
from holdfast.planning.slots import Slot
from holdfast.training.endings import Ending
from holdfast.training.pools import NODE_POOL, Pools, survey
from holdfast.training.view import View
from holdfast.training.wait import Wait

# Two watches tell of a pod that goes and of one that comes: what looks like a conflict may be over in a moment.
_CONTESTED: Final = timedelta(seconds=10)
# The scheduler tries a pod again within its longest back-off of 10 s; then the leader cannot use what is free.
_UNUSED: Final = timedelta(seconds=20)


@dataclass(frozen=True, slots=True)
class Place:
    """Where a slot's pod goes. `leads` pods find a new pool for their slice and keep off those in `avoids`; `waits`
    pods are not created yet."""

    pool: str | None = None
    leads: bool = False
    waits: bool = False
    avoids: tuple[str, ...] = ()


@dataclass(frozen=True, slots=True)
class Choice:
    """The places of all slots by name.

    `claims` are free pools that the job takes or is about to take. `seeking` are the slices without a pool. `unused`
    says that leaders wait although enough pools are free, and `kept_off` that no leader can be put into any of these:
    they existed before the leaders did.
    """

    places: Mapping[str, Place]
    claims: tuple[str, ...] = ()
    seeking: tuple[int, ...] = ()
    unused: bool = False
    kept_off: bool = False
    pools: Pools | None = None


def in_pools(view: View) -> bool:
    """Say whether each slice of the job has a node pool for itself."""
    return view.spec.accelerator.tpu is not None and view.shape.hosts_per_slice > 1


def choose(view: View) -> Choice:
    """Decide for every slice that has no pool. What pods are pinned to or bound in stays as it is."""
    if not in_pools(view):
        return Choice({slot.name: Place() for slot in view.slots})
    chosen = pools_of_slices(view)
    seeking = [number for number in range(view.shape.slices) if number not in chosen]
    if not seeking:
        return Choice({slot.name: Place(pool=chosen[slot.slice]) for slot in view.slots})
    pools = survey(view)
    own, others = set(chosen.values()), view.observed.occupied_pools
    free = [pool for pool in pools.whole if pool not in own and pool not in others]
    led = [number for number in seeking if _led(view, number)]
    enough = len(free) >= len(seeking)
    claims = tuple(free[: len(seeking)]) if enough else ()
    if enough and not led:
        chosen |= dict(zip(seeking, claims, strict=True))
    leaders = set(led) | _new_leaders(view, seeking, led, len(free), pools)
    known = tuple(sorted(pools.nodes))
    places = {slot.name: _place(slot, chosen, leaders, known) for slot in view.slots}
    left = tuple(number for number in seeking if number not in chosen)
    unused = enough and bool(led)
    return Choice(places, claims, left, unused, unused and _kept_off(view, set(led), claims, pools), pools)


def pools_of_slices(view: View) -> dict[int, str]:
    """Return the pool of every slice that a pod of it is pinned to or bound in, so that a crash changes no choice."""
    found = pools_in_use(view)
    for pod in view.current.values():
        number = pod.metadata.labels.get(names.SLICE, "")
        if number.isdigit() and NODE_POOL in pod.spec.node_selector:
            found[int(number)] = pod.spec.node_selector[NODE_POOL]
    return found


def pools_in_use(view: View) -> dict[int, str]:
    """Return the node pool of every slice whose pods are bound, by the slice's number."""
    found: dict[int, str] = {}
    for pod in view.current.values():
        node = view.observed.nodes.get(pod.spec.node_name)
        pool = node.metadata.labels.get(NODE_POOL, "") if node else ""
        number = pod.metadata.labels.get(names.SLICE, "")
        if pool and number.isdigit():
            found.setdefault(int(number), pool)
    return found


def contested(view: View) -> Wait | None:
    """Return the wait of a slice that is not whole in its pool yet while somebody else holds accelerators there."""
    if not in_pools(view):
        return None
    bound = Counter(pod.metadata.labels.get(names.SLICE) for pod in view.current.values() if pod.spec.node_name)
    first: dict[str, int] = {}
    for number, pool in sorted(pools_of_slices(view).items()):
        holder = view.observed.occupied_pools.get(pool)
        if pool in first:
            holder = f"slice {first[pool]} of this job"
        first.setdefault(pool, number)
        if holder and bound[str(number)] < view.shape.hosts_per_slice:
            return Wait(
                Reason.NODE_POOL_TAKEN,
                f"Slice {number} is not whole in node pool {pool}, where {holder} holds accelerators too.",
            )
    return None


def moved(view: View) -> Ending | None:
    """Return the end of an attempt that has to be placed anew, if it has to."""
    waited = view.observed.waiting
    if waited is None:
        return None
    word, since = waited
    lasted = view.now - since
    if word == Reason.NODE_POOL_TAKEN.value and lasted >= _CONTESTED:
        wait = contested(view)
        return Ending(Reason.NODE_POOL_TAKEN, wait.message) if wait is not None else None
    if word == Reason.PLACED_ANEW.value:
        choice = choose(view)
        free = ", ".join(choice.claims)
        message = f"Enough node pools are free now ({free}), which the pods of this attempt keep off."
        if choice.unused and (choice.kept_off or lasted >= _UNUSED):
            return Ending(Reason.PLACED_ANEW, message)
    return None


def look_again_s(view: View, choice: Choice) -> float:
    """Return in how many seconds leaders that wait beside free pools are given up."""
    if choice.kept_off:
        return 0.1
    waited = view.observed.waiting
    since = waited[1] if waited is not None and waited[0] == Reason.PLACED_ANEW.value else view.now
    return max(0.1, (since + _UNUSED - view.now).total_seconds())


def wait(view: View, choice: Choice) -> Wait | None:
    """Return why slices have no pool yet, None where each has one."""
    if not choice.seeking or choice.pools is None:
        return None
    slices = ", ".join(map(str, choice.seeking[:8])) + (", ..." if len(choice.seeking) > 8 else "")
    why = choice.pools.explain(view.observed.occupied_pools)
    leads = any(place.leads for place in choice.places.values())
    return Wait(
        Reason.AWAITING_NODE_POOL,
        f"Too few node pools with {view.shape.hosts_per_slice} nodes of topology {view.shape.topology} are free for "
        f"slice {slices} of {view.shape.slices}{f' ({why})' if why else ''}."
        + (" Host 0 of a slice waits for a new one; the other hosts follow into it." if leads else ""),
    )


def anti_affinity(job_uid: str, number: int) -> dict[str, Any]:
    """Return what keeps a leader of slice `number` out of pools where pods of another slice or job are.

    The scheduler applies it the other way round as well: nobody else's pods follow into a leader's pool.
    """
    managed = {names.MANAGED_BY: names.MANAGED_BY_VALUE}
    other_jobs = {"key": names.JOB_UID, "operator": "NotIn", "values": [job_uid]}
    other_slices = {"key": names.SLICE, "operator": "NotIn", "values": [str(number)]}
    selectors: tuple[dict[str, Any], ...] = (
        {"matchLabels": managed, "matchExpressions": [other_jobs]},
        {"matchLabels": {**managed, names.JOB_UID: job_uid}, "matchExpressions": [other_slices]},
    )
    return {
        "requiredDuringSchedulingIgnoredDuringExecution": [
            {"labelSelector": selector, "namespaceSelector": {}, "topologyKey": NODE_POOL} for selector in selectors
        ]
    }


def _place(slot: Slot, chosen: Mapping[int, str], leaders: set[int], known: tuple[str, ...]) -> Place:
    if slot.slice in chosen:
        return Place(pool=chosen[slot.slice])
    leads = slot.host == 0 and slot.slice in leaders
    return Place(leads=leads, waits=not leads, avoids=known if leads else ())


def _led(view: View, number: int) -> bool:
    """Say whether a leader that nobody has bound yet decides for its slice: the others wait for it."""
    return any(pod.metadata.labels.get(names.SLICE) == str(number) for pod in view.current.values())


def _kept_off(view: View, led: set[int], claims: tuple[str, ...], pools: Pools) -> bool:
    """Say whether the pools are all older than every leader: a leader keeps off the pools that it was created beside.

    Times of creation are whole seconds; in doubt a leader may yet be put there.
    """
    of_led = {str(number) for number in led}
    leaders = [pod.metadata for pod in view.current.values() if pod.metadata.labels.get(names.SLICE, "") in of_led]
    created = [meta.creation_timestamp for meta in leaders if meta.creation_timestamp is not None]
    known = [pools.since[pool] for pool in claims if pool in pools.since]
    if len(created) < len(leaders) or len(known) < len(claims):
        return False
    return max(known) < min(created)


def _new_leaders(view: View, seeking: list[int], led: list[int], free: int, pools: Pools) -> set[int]:
    """Return the slices for which a pool has to be scaled up: only for as many as the free pools are too few."""
    own = view.job.spec["template"]["spec"].get("nodeSelector") or {}
    if NODE_POOL in own and pools.nodes:
        # The one pool that the template allows exists: there is nothing to scale up, only to wait for.
        return set()
    missing = max(0, len(seeking) - free - len(led))
    return set([number for number in seeking if number not in led][:missing])
