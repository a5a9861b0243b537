"""Mutations and reads of single objects: bounded retries inside one deadline, and lost answers resolved by reading.

A request without an answer may or may not have been carried out. It is sent again where repeating is harmless, and
what then looks like a conflict (409 on a create, a changed version on a patch) is judged by reading the object back.
"""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Mapping
from typing import Any, Literal

import msgspec
import orjson

from holdfast.cluster.merge import apply_merge
from holdfast.cluster.objects import Header, Identity, header_of
from holdfast.cluster.pages import page_of
from holdfast.planning.plan import Manifest, Resource
from holdfast.seams import ApiError, ApiTransport, Clock, Random

# The whole of one mutation, retries included. It must end well before another leader may begin: see `lease`.
DEADLINE_S = 4.0
ATTEMPT_S = 2.0
BACKOFF_FIRST_S = 0.1

# Reading a whole collection changes nothing, so it may take longer than a term's last mutation.
LIST_S = 30.0
LIST_PAGE = 500

# Mutations under way at once, over all objects. The transport has more connections: the Lease never waits for one.
SLOTS = 32

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


class ApiClient:
    """Talks about single objects. `gate` is called before every mutation and raises `LeadershipLost`."""

    def __init__(
        self,
        transport: ApiTransport,
        clock: Clock,
        random: Random,
        *,
        gate: Callable[[], None] = lambda: None,
        field_manager: str = "holdfast",
        deadline_s: float = DEADLINE_S,
    ) -> None:
        self._transport = transport
        self._clock = clock
        self._random = random
        self._gate = gate
        self._manager = {"fieldManager": field_manager}
        self._deadline_s = deadline_s
        # The wait for a slot is before the deadline and the gate: neither is used up by it.
        self._slots = asyncio.Semaphore(SLOTS)

    async def get(self, resource: Resource, namespace: str, name: str) -> Document | None:
        """Return the object, or None where there is none. Raises `ApiError`."""
        return _parsed(await self._read(resource.item(namespace or None, name), self._end()))

    async def list_headers(self, resource: Resource, namespace: str, labels: str) -> list[Header]:
        """Return the headers of the objects with these labels, as they are now. Raises `ApiError`."""
        found: list[Header] = []
        query = {"labelSelector": labels, "limit": str(LIST_PAGE)}
        end = self._end()
        while True:
            payload = await self._attempts("GET", resource.collection(namespace or None), query, None, end)
            page = page_of(payload)
            found += [header_of(item) for item in page.items]
            if not page.metadata.continue_:
                return found
            query["continue"] = page.metadata.continue_

    async def identities(self, resource: Resource) -> tuple[str, list[Identity]]:
        """Return the version of a complete list of all namespaces, and who is in it. Raises `ApiError`."""
        end = self._clock.monotonic() + LIST_S
        query = {"limit": str(LIST_PAGE)}
        found: list[Identity] = []
        while True:
            payload = await self._attempts("GET", resource.collection(None), query, None, end)
            try:
                page = page_of(payload)
                found += [header_of(item).identity for item in page.items]
            except msgspec.DecodeError as error:
                raise ApiError(0, "BadAnswer", f"a list that is none: {error}") from error
            if not page.metadata.continue_:
                return page.metadata.resource_version, found
            query = {**query, "continue": page.metadata.continue_}

    async def create(self, resource: Resource, namespace: str, manifest: Manifest, *, dry_run: bool = False) -> Header:
        """Create an object; one of that name that is ours already counts as success.

        It is ours where its controller and all labels of `manifest` are the same. Raises `NameTaken` where it is
        not, `ApiError` for everything else. With `dry_run` the server checks and admits, and keeps nothing; fields
        that it does not know, which it would drop without a word from the object itself, are refused then.
        """
        query = {**self._manager, **({"dryRun": "All", "fieldValidation": "Strict"} if dry_run else {})}
        async with self._slots:
            end = self._end()
            try:
                return header_of(
                    await self._send("POST", resource.collection(namespace or None), query, orjson.dumps(manifest), end)
                )
            except ApiError as error:
                if error.status != 409 or error.reason != "AlreadyExists" or dry_run:
                    raise
                name = str(manifest["metadata"]["name"])
                found = await self._read(resource.item(namespace or None, name), end)
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
        async with self._slots:
            try:
                await self._send(
                    "DELETE", resource.item(namespace or None, name), {}, orjson.dumps(options), self._end()
                )
            except ApiError as error:
                if error.status == 404 or (error.status == 409 and error.reason == "Conflict"):
                    return False
                raise
            return True

    async def patch(
        self,
        resource: Resource,
        namespace: str,
        name: str,
        body: Mapping[str, Any],
        *,
        subresource: Literal["", "status"] = "",
    ) -> Header:
        """Apply a JSON merge patch.

        With `metadata.resourceVersion` in `body` a change by somebody else raises `ApiError` 409. After an answer
        was lost, a 409 may be the echo of the patch's own success: then the object shows the patch already.
        """
        async with self._slots:
            item = resource.item(namespace or None, name)
            path = f"{item}/{subresource}" if subresource else item
            end = self._end()
            attempts: list[ApiError] = []
            try:
                return header_of(
                    await self._send("PATCH", path, self._manager, orjson.dumps(body), end, MERGE_PATCH, attempts)
                )
            except ApiError as error:
                if error.status != 409 or not attempts:
                    raise
                found = await self._read(item, end)
                if found is None or not _shows(orjson.loads(found), body):
                    raise
                return header_of(found)

    def _end(self) -> float:
        return self._clock.monotonic() + self._deadline_s

    async def _read(self, path: str, end: float) -> bytes | None:
        try:
            return await self._attempts("GET", path, {}, None, end)
        except ApiError as error:
            if error.status == 404:
                return None
            raise

    async def _send(
        self,
        method: str,
        path: str,
        query: Mapping[str, str],
        body: bytes,
        end: float,
        content_type: str = "application/json",
        failed: list[ApiError] | None = None,
    ) -> bytes:
        return await self._attempts(method, path, query, body, end, content_type, failed, self._gate)

    async def _attempts(
        self,
        method: str,
        path: str,
        query: Mapping[str, str],
        body: bytes | None,
        end: float,
        content_type: str = "application/json",
        failed: list[ApiError] | None = None,
        gate: Callable[[], None] = lambda: None,
    ) -> bytes:
        """Send a request until it is answered for good or the time is over; failures are added to `failed`."""
        pause = BACKOFF_FIRST_S
        while True:
            gate()
            left = end - self._clock.monotonic()
            try:
                return await self._transport.request(
                    method,
                    path,
                    query=query,
                    body=body,
                    content_type=content_type,
                    timeout_s=max(0.05, min(ATTEMPT_S, left)),
                )
            except ApiError as error:
                wait = max(error.retry_after_s or 0.0, pause * self._random.uniform(0.5, 1.5))
                if not may_pass(error) or self._clock.monotonic() + wait + 0.1 >= end:
                    raise
                if failed is not None:
                    failed.append(error)
            pause *= 2
            await self._clock.sleep(wait)


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


def _shows(document: Document, patch: Mapping[str, Any]) -> bool:
    """Return whether applying `patch` would change nothing but metadata that the server sets."""
    body = {key: value for key, value in patch.items() if key != "metadata"}
    metadata = {key: value for key, value in patch.get("metadata", {}).items() if key != "resourceVersion"}
    if metadata:
        body["metadata"] = metadata
    return bool(body) and apply_merge(document, body) == document
