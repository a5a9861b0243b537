"""Carries out a plan in its order: write-ahead, dry run and reads, actions, one status write, events.

First of all, what the plan takes for gone is asked for: a cache that is behind shows the same.
The pass ends early where the plan proves to be made from an old view (a conflict). What the API server refuses is not
an error here: it is handed back, and the next plan explains it. Every step is safe to repeat, so a pass that dies
anywhere is simply made again.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from itertools import groupby
from typing import Any, cast

import msgspec

from holdfast.cluster.client import ApiClient, LeadershipLost, NameTaken, may_pass
from holdfast.cluster.events import EventRecorder, Owner
from holdfast.cluster.expectations import Expectations
from holdfast.cluster.merge import without_nulls
from holdfast.cluster.parallel import each
from holdfast.planning.observed import Claim, DryRunResult, ReadClaim, Refusal
from holdfast.planning.plan import Absent, Action, Create, Delete, DryRun, Patch, Plan, Read, Resource, StatusWrite
from holdfast.seams import ApiError, Clock, Spawner

WIDTH = 32
FIRST_BATCH = 8


@dataclass(slots=True)
class ApplyResult:
    """What came of a plan.

    `conflict`: it was made from an old view; plan again. `gone`: the object does not exist any more. `refusals`:
    creates that the server said no to. `failures`: anything else that went wrong; plan again after a back-off. A create
    without an answer, or that met trouble in the server, is one, and may have been carried out. `made`: what was
    created, or may have been. `creates` counts those that were accepted or refused, `writes` all requests that changed
    something.
    """

    conflict: bool = False
    gone: bool = False
    refusals: list[Refusal] = field(default_factory=list)
    dry_run: DryRunResult | None = None
    read_claim: ReadClaim | None = None
    failures: list[ApiError] = field(default_factory=list)
    made: set[tuple[Resource, str]] = field(default_factory=set)
    creates: int = 0
    writes: int = 0

    @property
    def accepted(self) -> bool:
        """Say whether no request has failed and no create was refused so far."""
        return not (self.refusals or self.failures)

    @property
    def complete(self) -> bool:
        """Say whether everything was carried out."""
        return self.accepted and not self.conflict


@dataclass(slots=True)
class _Status:
    """What the server holds of the object's status as far as this pass knows."""

    version: str
    held: Mapping[str, Any]


class Applier:
    """Carries out plans. One pass for one object at a time; different objects may run side by side."""

    def __init__(
        self,
        client: ApiClient,
        expectations: Expectations,
        recorder: EventRecorder,
        clock: Clock,
        spawner: Spawner,
        *,
        width: int = WIDTH,
    ) -> None:
        self._client = client
        self._expectations = expectations
        self._recorder = recorder
        self._clock = clock
        self._spawner = spawner
        self._width = width

    async def apply(self, plan: Plan, owner: Owner) -> ApplyResult:
        """Carry out `plan`. Raises `LeadershipLost`, and nothing else that is expected."""
        result = ApplyResult()
        if not await self._confirm(plan.absent, result):
            return result
        status: _Status | None = None
        if plan.write_ahead is not None:
            status = await self._write_status(plan.write_ahead, owner, None, result)
            if status is None:
                return result
        if plan.dry_run is not None:
            await self._ask(plan.dry_run, result)
        if plan.read is not None:
            await self._read(plan.read, result)
        for _, group in groupby(plan.actions, key=type):
            if not await self._carry_out(list(group), owner, result):
                break
        if result.conflict:
            return result
        if plan.status is not None:
            await self._write_status(plan.status, owner, status, result, settled=plan.settled)
        if not (result.conflict or result.gone):
            for note in plan.events:
                await self._recorder.record(owner, note)
        return result

    async def _confirm(self, absent: Sequence[Absent], result: ApplyResult) -> bool:
        """Ask whether what the plan takes for gone is gone. One that is there is a conflict: the cache is behind."""
        for item in absent:
            try:
                document = await self._client.get(item.resource, item.namespace, item.name)
            except ApiError as error:
                result.failures.append(error)
                return False
            owners = document["metadata"].get("ownerReferences", ()) if document is not None else ()
            if any(owner.get("controller") and owner.get("uid") == item.owner_uid for owner in owners):
                result.conflict = True
                return False
        return True

    async def _write_status(
        self,
        write: StatusWrite,
        owner: Owner,
        before: _Status | None,
        result: ApplyResult,
        *,
        settled: bool = False,
    ) -> _Status | None:
        """Write a status where it differs. Return what the server then holds, None where the pass must end."""
        held = before or _Status(write.resource_version, write.observed)
        if write.wanted is held.held:
            return held
        wanted = without_nulls(write.wanted)
        if without_nulls(held.held) == wanted:
            return _Status(held.version, wanted)
        try:
            header = await self._client.replace_status(
                write.resource, write.namespace, write.name, held.version, wanted
            )
        except ApiError as error:
            if error.status == 409:
                result.conflict = True
            elif error.status == 404:
                result.gone = True
            else:
                result.failures.append(error)
            return None
        version = header.metadata.resource_version
        self._expectations.expect_written(
            owner.uid, write.resource, write.namespace, write.name, version, settled=settled
        )
        result.writes += 1
        return _Status(version, wanted)

    async def _ask(self, question: DryRun, result: ApplyResult) -> None:
        namespace = str(question.manifest["metadata"].get("namespace", ""))
        answer = DryRunResult(question.key, at=self._clock.now())
        try:
            await self._client.create(question.resource, namespace, question.manifest, dry_run=True)
        except ApiError as error:
            if may_pass(error):
                result.failures.append(error)
                return
            if error.status != 409:
                answer = DryRunResult(question.key, error.status, error.reason, error.message, self._clock.now())
        result.dry_run = answer

    async def _read(self, question: Read, result: ApplyResult) -> None:
        """Read a claim. One that does not look like a claim counts as one that nothing is known of."""
        try:
            document = await self._client.get(question.resource, question.namespace, question.name)
        except ApiError as error:
            result.failures.append(error)
            return
        claim = None
        if document is not None:
            try:
                claim = msgspec.convert(document, Claim)
            except msgspec.ValidationError as error:
                result.failures.append(ApiError(0, "BadAnswer", f"{question.name} is no claim: {error}"))
                return
        result.read_claim = ReadClaim(question.name, claim, self._clock.now())

    async def _carry_out(self, group: Sequence[Action], owner: Owner, result: ApplyResult) -> bool:
        """Carry out actions of one type side by side. Return whether what follows in the plan may be begun."""
        if isinstance(group[0], Create):
            return await self._create_all(cast(Sequence[Create], group), owner, result)

        async def one(action: Action) -> None:
            if isinstance(action, Delete):
                await self._delete(action, owner, result)
            elif isinstance(action, Patch):
                await self._patch(action, owner, result)

        await each(group, one, width=self._width, spawner=self._spawner)
        return not (result.failures or result.conflict)

    async def _create_all(self, creates: Sequence[Create], owner: Owner, result: ApplyResult) -> bool:
        """Create the first few, and where none of them is refused the rest, until one of them is."""

        async def one(action: Create) -> None:
            await self._create(action, owner, result)

        async def one_more(action: Create) -> None:
            if result.accepted:
                await self._create(action, owner, result)

        await each(creates[:FIRST_BATCH], one, width=self._width, spawner=self._spawner)
        if result.accepted and len(creates) > FIRST_BATCH:
            await each(creates[FIRST_BATCH:], one_more, width=self._width, spawner=self._spawner)
        return result.accepted

    async def _create(self, action: Create, owner: Owner, result: ApplyResult) -> None:
        metadata = action.manifest["metadata"]
        namespace, name = str(metadata.get("namespace", "")), str(metadata["name"])
        self._expectations.expect_created(owner.uid, action.resource, namespace, name)
        result.made.add((action.resource, name))
        try:
            header = await self._client.create(action.resource, namespace, action.manifest)
        except LeadershipLost:
            # Should an earlier attempt have come through all the same: to make it again finds it.
            self._expectations.creation_failed(owner.uid, action.resource, namespace, name)
            raise
        except ApiError as error:
            # Without an answer the object may exist: then the expectation stands until it is seen or expires.
            if error.status != 0:
                self._expectations.creation_failed(owner.uid, action.resource, namespace, name)
            # A 409 "Conflict" on a create is a race inside the server, for example on a quota's count.
            if may_pass(error) or error.reason == "Conflict":
                result.failures.append(error)
                return
            result.creates += 1
            result.made.discard((action.resource, name))
            reason = "NameTaken" if isinstance(error, NameTaken) else error.reason
            result.refusals.append(
                Refusal(action.resource, name, error.status, reason, error.message, self._clock.now())
            )
            return
        self._expectations.creation_answered(owner.uid, action.resource, header.identity)
        result.creates += 1
        result.writes += 1

    async def _delete(self, action: Delete, owner: Owner, result: ApplyResult) -> None:
        self._expectations.expect_deleted(owner.uid, action.resource, action.namespace, action.name, action.uid)
        try:
            there = await self._client.delete(
                action.resource,
                action.namespace,
                action.name,
                uid=action.uid,
                grace_s=action.grace_s,
                resource_version=action.resource_version,
            )
        except LeadershipLost:
            self._expectations.deletion_failed(owner.uid, action.resource, action.uid)
            raise
        except ApiError as error:
            self._expectations.deletion_failed(owner.uid, action.resource, action.uid)
            result.failures.append(error)
            return
        if there:
            result.writes += 1
        else:
            self._expectations.deletion_failed(owner.uid, action.resource, action.uid)

    async def _patch(self, action: Patch, owner: Owner, result: ApplyResult) -> None:
        try:
            header = await self._client.patch(action.resource, action.namespace, action.name, action.body)
        except ApiError as error:
            if error.status in (404, 409):
                result.conflict = True
            else:
                result.failures.append(error)
            return
        result.writes += 1
        self._expectations.expect_written(
            owner.uid, action.resource, action.namespace, action.name, header.metadata.resource_version
        )
