"""What Kopf asks and hears: of every object its name and identity, and of changes nothing but the version.

Kopf's part is to wake the keys of objects that come and go. Left to itself it asks for whole objects, all of them in
one list, keeps each event as dictionaries, and runs its machinery for every change only to find that no handler wants
it: in a rush a seventh of all CPU. It takes an HTTP session from whoever logs it in, and this one says less. The API
server is asked for metadata, of which the names are passed on, and a change is told as a bookmark, by which Kopf goes
on to its version and does nothing else.
"""

from __future__ import annotations

from collections.abc import AsyncIterator
from typing import Any, cast

import aiohttp
import kopf
import msgspec
import orjson

from holdfast.cluster.client import METADATA_ONLY, ONE_METADATA_ONLY
from holdfast.cluster.credentials import Access
from holdfast.cluster.objects import Header, header_of
from holdfast.cluster.pages import event_of, page_of
from holdfast.cluster.transport import connector


def session(access: Access) -> kopf.AiohttpSession:
    """Return the session that Kopf is logged in with; it closes it. Tokens are read anew for every request."""

    async def ask(request: aiohttp.ClientRequest, handler: aiohttp.ClientHandlerType) -> aiohttp.ClientResponse:
        watches = request.url.query.get("watch") == "true"
        request.headers.update(access.token.header())
        request.headers["Accept"] = ONE_METADATA_ONLY if watches else METADATA_ONLY
        response = await handler(request)
        if watches and response.status == 200:
            response.content = cast(aiohttp.StreamReader, _Brief(response.content))
        return response

    made = aiohttp.ClientSession(
        connector=connector(access, 0), response_class=_Response, middlewares=(ask,), trust_env=False
    )
    return kopf.AiohttpSession(server=access.server, aiohttp_session=made)


class _Response(aiohttp.ClientResponse):
    """An answer in which only the names of listed objects are left."""

    async def json(self, **_: Any) -> Any:
        """Return a list's version and its objects in brief; anything else as it is."""
        payload = await self.read()
        try:
            page = page_of(payload)
        except msgspec.DecodeError:
            return orjson.loads(payload)
        if page.items is None and not page.metadata.resource_version:
            return orjson.loads(payload)
        metadata = {"resourceVersion": page.metadata.resource_version, "continue": page.metadata.continue_}
        return {"metadata": metadata, "items": [_brief(header_of(item)) for item in page.objects]}


class _Brief:
    """The content of a watch with its lines in brief. What Kopf might call besides is the stream's own."""

    def __init__(self, content: aiohttp.StreamReader) -> None:
        self._content = content

    def __getattr__(self, name: str) -> Any:
        return getattr(self._content, name)

    async def iter_chunked(self, size: int) -> AsyncIterator[bytes]:
        """Yield whole lines, as many as have come."""
        rest = b""
        async for chunk in self._content.iter_chunked(size):
            *lines, rest = (rest + chunk).split(b"\n")
            if lines:
                yield in_brief(lines)
        if rest:
            yield rest


def in_brief(lines: list[bytes]) -> bytes:
    """Return the lines of a watch with what Kopf's part needs of them. Of changes in a row the last one's version is
    enough; a line that cannot be read is left to Kopf as it is."""
    told: list[bytes] = []
    changed: bytes = b""
    for line in lines:
        brief, is_change = _line(line)
        if is_change:
            changed = brief
            continue
        if changed:
            told.append(changed)
            changed = b""
        told.append(brief)
    if changed:
        told.append(changed)
    return b"".join(line + b"\n" for line in told)


def _line(line: bytes) -> tuple[bytes, bool]:
    """Return one line in brief, and whether it only tells a change."""
    try:
        event = event_of(line)
        if event.type not in ("ADDED", "MODIFIED", "DELETED"):
            return line, False
        header = header_of(event.object)
    except msgspec.DecodeError:
        return line, False
    if event.type != "MODIFIED":
        return orjson.dumps({"type": event.type, "object": _brief(header)}), False
    version = {"resourceVersion": header.metadata.resource_version}
    return orjson.dumps({"type": "BOOKMARK", "object": {"metadata": version}}), True


def _brief(header: Header) -> dict[str, Any]:
    meta = header.metadata
    named = {"name": meta.name, "namespace": meta.namespace, "uid": meta.uid, "resourceVersion": meta.resource_version}
    return {"metadata": {key: value for key, value in named.items() if value}}
