"""Mutations and reads of single objects: bounded retries inside one deadline, and lost answers resolved by reading.

A request without an answer may or may not have been carried out. It is sent again where repeating is harmless, and
what then looks like a conflict (409 on a create, a changed version on a patch) is judged by reading the object back.
"""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Any

import msgspec
import orjson

from holdfast.cluster.merge import apply_merge
from holdfast.cluster.objects import Header, Identity, header_of
from holdfast.cluster.pages import page_of
from holdfast.cluster.turns import Turns
from holdfast.planning.plan import Manifest, Resource
from holdfast.seams import ApiError, ApiTransport, Clock, Random

# The whole of one mutation from its first turn, retries included. It must end well before another leader may begin: see
# `lease`.
DEADLINE_S = 4.0
ATTEMPT_S = 2.0
BACKOFF_FIRST_S = 0.1
# Less is not worth a request.
LEAST_S = 0.05

# One page of a list. It changes nothing, so it may take longer than a term's last mutation, and as long as each other
# page of a list that has many.
PAGE_S = 30.0
LIST_PAGE = 500
# What a list is asked for where only the metadata is read: pages stay small, however much the objects hold.
METADATA_ONLY = "application/json;as=PartialObjectMetadataList;g=meta.k8s.io;v=v1,application/json"
# The same of a single object, which is all that is read of the answer to a change.
ONE_METADATA_ONLY = "application/json;as=PartialObjectMetadata;g=meta.k8s.io;v=v1,application/json"

MERGE_PATCH = "application/merge-patch+json"
Document = dict[str, Any]


class NameTaken(ApiError):
    """An object of the wanted name exists and is somebody else's. `header` is what was found."""

    def __init__(self, message: str, header: Header) -> None:
        super().__init__(409, "AlreadyExists", message)
        self.header = header


class LeadershipLost(Exception):
    """This replica may not change anything any more: its lease has run out."""


def may_pass(error: ApiError) -> bool:
    """Return whether the same request may succeed a moment later: no answer, too many requests, server trouble."""
    return error.status in (0, 429) or error.status >= 500


@dataclass(frozen=True, slots=True)
class _Call:
    """One request, as it is sent in every attempt."""

    method: str
    path: str
    query: Mapping[str, str]
    body: bytes | None = None
    content_type: str = "application/json"
    accept: str = ""


@dataclass(slots=True)
class _Deadline:
    """When a call must have ended (monotonic), and how long one attempt may take. Waiting for a turn may move `end`."""

    end: float
    attempt_s: float = ATTEMPT_S


class ApiClient:
    """Talks about single objects. `gate` is called before every attempt of a mutation and raises `LeadershipLost`.

    A turn is held for one attempt and not through the pause after it. The wait for the first turn is before the
    deadline and the gate: neither is used up by it. A mutation that is to be sent again and gets its turn after its
    deadline is not sent any more; a read, which changes nothing, has waited for free.
    """

    def __init__(
        self,
        transport: ApiTransport,
        clock: Clock,
        random: Random,
        *,
        gate: Callable[[], None] = lambda: None,
        field_manager: str = "holdfast",
        deadline_s: float = DEADLINE_S,
        turns: Turns | None = None,
    ) -> None:
        self._transport = transport
        self._clock = clock
        self._random = random
        self._gate = gate
        self._manager = {"fieldManager": field_manager}
        self._deadline_s = deadline_s
        self._turns = turns or Turns()

    async def get(self, resource: Resource, namespace: str, name: str) -> Document | None:
        """Return the object, or None where there is none. Raises `ApiError`."""
        return _parsed(await self._read(resource.item(namespace or None, name), self._deadline_s))

    async def list_headers(self, resource: Resource, namespace: str, labels: str) -> list[Header]:
        """Return the headers of the objects with these labels, as they are now. Raises `ApiError`."""
        return (await self._list(resource, namespace, {"labelSelector": labels}))[1]

    async def identities(self, resource: Resource) -> tuple[str, list[Identity]]:
        """Return the version of a complete list of all namespaces, and who is in it. Raises `ApiError`."""
        version, found = await self._list(resource, "", {})
        return version, [header.identity for header in found]

    async def create(self, resource: Resource, namespace: str, manifest: Manifest, *, dry_run: bool = False) -> Header:
        """Create an object; one of that name that is ours already counts as success.

        It is ours where its controller and all labels of `manifest` are the same. Raises `NameTaken` where it is
        not, `ApiError` for everything else. With `dry_run` the server checks and admits, and keeps nothing; fields
        that it does not know, which it would drop without a word from the object itself, are refused then.
        """
        query = {**self._manager, **({"dryRun": "All", "fieldValidation": "Strict"} if dry_run else {})}
        deadline = self._deadline()
        path = resource.collection(namespace or None)
        call = _Call("POST", path, query, orjson.dumps(manifest), accept=ONE_METADATA_ONLY)
        try:
            return header_of(await self._send(call, deadline))
        except ApiError as error:
            if error.status != 409 or error.reason != "AlreadyExists" or dry_run:
                raise
            name = str(manifest["metadata"]["name"])
            found = await self._read(resource.item(namespace or None, name), self._left_s(deadline))
            if found is None:
                raise
            return _judged(manifest, header_of(found), error)

    async def delete(
        self,
        resource: Resource,
        namespace: str,
        name: str,
        *,
        uid: str,
        grace_s: int | None = None,
        resource_version: str = "",
    ) -> bool:
        """Delete exactly the object with this UID, its dependents in the background.

        Return False where there is nothing to delete: no such name (404), another UID under it (409), or, where a
        version is asked for, one that has changed (409); the change comes by the watch.
        """
        options: Document = {
            "kind": "DeleteOptions",
            "apiVersion": "v1",
            "preconditions": {"uid": uid, **({"resourceVersion": resource_version} if resource_version else {})},
            "propagationPolicy": "Background",
        }
        if grace_s is not None:
            options["gracePeriodSeconds"] = grace_s
        call = _Call("DELETE", resource.item(namespace or None, name), {}, orjson.dumps(options))
        try:
            await self._send(call, self._deadline())
        except ApiError as error:
            if error.status == 404 or (error.status == 409 and error.reason == "Conflict"):
                return False
            raise
        return True

    async def patch(self, resource: Resource, namespace: str, name: str, body: Mapping[str, Any]) -> Header:
        """Apply a JSON merge patch.

        With `metadata.resourceVersion` in `body` a change by somebody else raises `ApiError` 409. After an answer
        was lost, a 409 may be the echo of the patch's own success: then the object shows the patch already.
        """
        item = resource.item(namespace or None, name)
        call = _Call("PATCH", item, self._manager, orjson.dumps(body), MERGE_PATCH, ONE_METADATA_ONLY)
        return await self._change(call, item, lambda found: _shows(found, body))

    async def replace_status(
        self, resource: Resource, namespace: str, name: str, version: str, status: Mapping[str, Any]
    ) -> Header:
        """Make `status` the object's whole status, if the object still has this version.

        Nothing but the status is looked at by the API server, so nothing else is sent; this costs it about a sixth
        less than a patch, for which it writes out and reads back the whole object. Raises as `patch` does.
        """
        item = resource.item(namespace or None, name)
        body = {
            "apiVersion": f"{resource.group}/{resource.version}" if resource.group else resource.version,
            "kind": resource.kind,
            "metadata": {"name": name, "namespace": namespace, "resourceVersion": version},
            "status": status,
        }
        call = _Call("PUT", f"{item}/status", self._manager, orjson.dumps(body), accept=ONE_METADATA_ONLY)
        return await self._change(call, item, lambda found: _is_status(found.get("status") or {}, status))

    async def _change(self, call: _Call, item: str, shows: Callable[[Document], bool]) -> Header:
        """Send a change; where its answer was lost, a conflict with an object that shows it already is its success."""
        deadline = self._deadline()
        attempts: list[ApiError] = []
        try:
            return header_of(await self._send(call, deadline, attempts))
        except ApiError as error:
            if error.status != 409 or not attempts:
                raise
            found = await self._read(item, self._left_s(deadline))
            if found is None or not shows(orjson.loads(found)):
                raise
            return header_of(found)

    def _deadline(self) -> _Deadline:
        return _Deadline(self._clock.monotonic() + self._deadline_s)

    def _left_s(self, deadline: _Deadline) -> float:
        return deadline.end - self._clock.monotonic()

    async def _read(self, path: str, seconds: float) -> bytes | None:
        deadline = _Deadline(self._clock.monotonic() + seconds)
        try:
            return await self._attempts(_Call("GET", path, {}), deadline, self._turns.reads)
        except ApiError as error:
            if error.status == 404:
                return None
            raise

    async def _list(self, resource: Resource, namespace: str, selector: Mapping[str, str]) -> tuple[str, list[Header]]:
        """Return the version of a complete list and its headers. One that outlives its version is made anew unpaged."""
        try:
            return await self._pages(resource, namespace, {**selector, "limit": str(LIST_PAGE)})
        except ApiError as error:
            if error.status != 410:
                raise
            return await self._pages(resource, namespace, selector)

    async def _pages(self, resource: Resource, namespace: str, query: Mapping[str, str]) -> tuple[str, list[Header]]:
        """Return what all pages of a list hold. Each has a deadline of its own."""
        found: list[Header] = []
        while True:
            call = _Call("GET", resource.collection(namespace or None), query, accept=METADATA_ONLY)
            deadline = _Deadline(self._clock.monotonic() + PAGE_S, attempt_s=PAGE_S)
            payload = await self._attempts(call, deadline, self._turns.lists)
            try:
                page = page_of(payload)
                found += [header_of(item) for item in page.objects]
            except msgspec.DecodeError as error:
                raise ApiError(0, "BadAnswer", f"a list that is none: {error}") from error
            if not page.metadata.continue_:
                return page.metadata.resource_version, found
            query = {**query, "continue": page.metadata.continue_}

    async def _send(self, call: _Call, deadline: _Deadline, failed: list[ApiError] | None = None) -> bytes:
        return await self._attempts(call, deadline, self._turns.mutations, [] if failed is None else failed)

    async def _attempts(
        self, call: _Call, deadline: _Deadline, turns: asyncio.Semaphore, failed: list[ApiError] | None = None
    ) -> bytes:
        """Send a request until it is answered for good or the time is over; the failures of a mutation go to `failed`.

        Without `failed` it is a read.
        """
        pause = BACKOFF_FIRST_S
        last: ApiError | None = None
        while True:
            asked_at = self._clock.monotonic()
            async with turns:
                if last is None or failed is None:
                    deadline.end += self._clock.monotonic() - asked_at
                elif self._left_s(deadline) < LEAST_S:
                    raise last
                try:
                    return await self._attempt(call, deadline, gated=failed is not None)
                except ApiError as error:
                    last = error
            wait = max(last.retry_after_s or 0.0, pause * self._random.uniform(0.5, 1.5))
            if not may_pass(last) or self._left_s(deadline) <= wait + 2 * LEAST_S:
                raise last
            if failed is not None:
                failed.append(last)
            pause *= 2
            await self._clock.sleep(wait)

    async def _attempt(self, call: _Call, deadline: _Deadline, *, gated: bool) -> bytes:
        """Send a request once; what changes something, only while this replica leads."""
        if gated:
            self._gate()
        return await self._transport.request(
            call.method,
            call.path,
            query=call.query,
            body=call.body,
            content_type=call.content_type,
            timeout_s=max(LEAST_S, min(deadline.attempt_s, self._left_s(deadline))),
            accept=call.accept,
        )


def _parsed(payload: bytes | None) -> Document | None:
    if payload is None:
        return None
    document: Document = orjson.loads(payload)
    return document


def _judged(wanted: Manifest, found: Header, error: ApiError) -> Header:
    """Return `found` where it is what was wanted, else raise `NameTaken`."""
    metadata = wanted["metadata"]
    owner = next((ref["uid"] for ref in metadata.get("ownerReferences", ()) if ref.get("controller")), "")
    labels: Mapping[str, str] = metadata.get("labels", {})
    identity = found.identity
    if identity.owner_uid != owner:
        held = f"controlled by {identity.owner_uid}" if identity.owner_uid else "without a controller"
        raise NameTaken(f"{error.message or metadata['name']}: it is {held}, not ours", found) from error
    other = sorted(key for key, value in labels.items() if found.metadata.labels.get(key) != value)
    if other:
        raise NameTaken(f"{error.message or metadata['name']}: its labels {', '.join(other)} differ", found) from error
    return found


def _is_status(found: Mapping[str, Any], wanted: Mapping[str, Any]) -> bool:
    """Return whether `found` is what the server makes of `wanted`: it adds empty lists and objects by default."""
    return apply_merge(found, wanted) == found and not any(found[key] for key in found.keys() - wanted.keys())


def _shows(document: Document, patch: Mapping[str, Any]) -> bool:
    """Return whether applying `patch` would change nothing but metadata that the server sets."""
    body = {key: value for key, value in patch.items() if key != "metadata"}
    metadata = {key: value for key, value in patch.get("metadata", {}).items() if key != "resourceVersion"}
    if metadata:
        body["metadata"] = metadata
    return bool(body) and apply_merge(document, body) == document
