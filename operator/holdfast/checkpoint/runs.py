"""Runs: whose prefix it is, and which attempt may commit to it.

A run is one attempt of one job. Runs are ordered by (creation time of the job, its UID, attempt), and numbered without
gaps: a number is taken by creating `run.json` with generation 0, only by someone who saw the one before it, and never
given back. So "is mine the newest?" is one look for the next number. Whoever is older than the newest run has lost.
"""

from __future__ import annotations

from dataclasses import dataclass
from datetime import UTC, datetime

from holdfast.api.wire import Outcome, SidecarConfig
from holdfast.checkpoint import layout
from holdfast.checkpoint.errors import Refusal
from holdfast.checkpoint.manifests import Owner, Run, decode, encode
from holdfast.checkpoint.store.create import create_once
from holdfast.seams import ObjectStore, PreconditionFailed


@dataclass(frozen=True, slots=True, order=True)
class RunKey:
    """The order of runs."""

    created: datetime
    job_uid: str
    attempt: int


def moment(text: str) -> datetime:
    """Return an RFC 3339 time as an aware one. Raises ValueError."""
    parsed = datetime.fromisoformat(text)
    return parsed if parsed.tzinfo is not None else parsed.replace(tzinfo=UTC)


def key_of(run: Run) -> RunKey:
    """Return the place of a run in the order."""
    return RunKey(moment(run.job_created), run.job_uid, run.attempt)


async def claim(store: ObjectStore, config: SidecarConfig) -> None:
    """Make the prefix this job's own, or find that it is. Raises `Refusal` (`PrefixTaken`).

    A job of the same namespace and name that was created later takes the prefix over: it is the same work, gone on
    with. Two different jobs never share a prefix.
    """
    mine = Owner(namespace=config.namespace, job=config.job, job_uid=config.job_uid, job_created=config.job_created)
    while True:
        created = await create_once(store, layout.OWNER, encode(mine))
        owner = decode(layout.OWNER, created.data, Owner)
        if (owner.namespace, owner.job) != (mine.namespace, mine.job):
            raise _taken(
                owner.job_uid,
                f"the destination {config.destination} belongs to the job {owner.namespace}/{owner.job}: "
                "choose another prefix, or delete its objects if that job's checkpoints are not needed any more",
            )
        if owner.job_uid == mine.job_uid:
            return
        if (moment(owner.job_created), owner.job_uid) > (moment(mine.job_created), mine.job_uid):
            raise _taken(
                owner.job_uid,
                f"a newer job of the same name (UID {owner.job_uid}, created {owner.job_created}) has taken over "
                f"{config.destination}: this one must not go on",
            )
        try:
            await store.put(layout.OWNER, encode(mine), if_generation=created.info.generation)
        except PreconditionFailed:
            # Somebody else took it over meanwhile, or it was this call and its answer was lost: look again.
            continue
        return


async def enter(store: ObjectStore, config: SidecarConfig) -> int:
    """Join this attempt's run, or create it, and return its number. Raises `Refusal` where a newer one exists."""
    mine = Run(
        namespace=config.namespace,
        job=config.job,
        job_uid=config.job_uid,
        job_created=config.job_created,
        attempt=config.attempt,
        layout=config.layout,
        parts=config.parts,
    )
    newest = await _newest_number(store)
    while True:
        if newest:
            seen = await read_run(store, newest)
            if key_of(seen) == key_of(mine):
                return newest
            if key_of(seen) > key_of(mine):
                raise superseded(newest, seen, config.job_uid)
        # The next number is free, or somebody was faster: either way what is there now decides.
        created = await create_once(store, layout.run_manifest(newest + 1), encode(mine))
        newest += 1
        if not created.adopted:
            return newest


async def read_run(store: ObjectStore, number: int) -> Run:
    """Return a run's own document."""
    name = layout.run_manifest(number)
    data, _ = await store.get(name)
    return decode(name, data, Run)


async def newer_run(store: ObjectStore, number: int) -> int | None:
    """Read the fence: return the number of a run newer than `number`, or None where that one is still the newest.

    Where the run's own object is gone, the prefix was emptied under it, and it has lost its right too: it is then
    reported as superseded by itself.
    """
    if await store.list(layout.run_manifest(number + 1)):
        return number + 1
    return None if await store.list(layout.run_manifest(number)) else number


def superseded(number: int, seen: Run, own_uid: str) -> Refusal:
    """Return the refusal that names the newer run. Another job's UID means that the prefix is lost for good."""
    whose = f"run {number}, attempt {seen.attempt} of {seen.namespace}/{seen.job} (UID {seen.job_uid})"
    if seen.job_uid != own_uid:
        return _taken(seen.job_uid, f"a newer job has taken over the destination: {whose}", number, seen.attempt)
    return Refusal(
        Outcome(
            kind="Superseded",
            message=f"a newer attempt has taken over: {whose}",
            run=number,
            seen_attempt=seen.attempt,
            seen_uid=seen.job_uid,
        )
    )


def _taken(uid: str, message: str, run: int | None = None, attempt: int | None = None) -> Refusal:
    return Refusal(Outcome(kind="PrefixTaken", message=message, run=run, seen_uid=uid, seen_attempt=attempt))


async def _newest_number(store: ObjectStore) -> int:
    # A folder may be what is left of a prefix that somebody emptied: only the run's own object takes a number.
    for number in await run_numbers(store):
        if await store.list(layout.run_manifest(number)):
            return number
    return 0


async def run_numbers(store: ObjectStore) -> list[int]:
    """Return the numbers of the runs of which anything is there, the newest first."""
    numbers = [layout.parse_run_folder(name) for name in (await store.list_folder(layout.RUNS)).folders]
    return sorted((number for number in numbers if number is not None), reverse=True)
