"""Keeps a cache equal to what the API server holds: list in pages, watch with bookmarks, list again when in doubt.

What may go wrong, and what is done about it:

* the version is too old (410) at a list's continuation, at the opening of the watch or in the stream: list again, after
  a back-off where no event has come since the last list;
* the stream goes silent (neither event nor bookmark for `silence_s`): open it again from the last version, and list
  again after `SILENT_WATCHES`, since a server may answer and still show nothing new;
* the server closes the stream at once, again and again: back off with jitter;
* an ERROR event other than 410: back off, then list again;
* versions go back in a stream: what is in between may have been lost or undone, so list again; an event that comes
  twice changes nothing;
* one object does not fit the struct: it is logged and counted, the one known before stays, the watch goes on.

Lists are consistent reads (they name no `resourceVersion`), so a relist is never older than what the watch has shown.
Streaming lists (`sendInitialEvents`) are not used: the version that a watch goes on from is that of a whole list, of a
bookmark or of an event after it, and never one from the middle of an initial stream.
"""

from __future__ import annotations

import logging
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any, Generic, TypeVar

import msgspec

from holdfast.cluster.cache import Cache
from holdfast.cluster.objects import Key, Kind, header_of, reached, version_number
from holdfast.cluster.pages import Decoding, OddObject, WatchEvent, event_of, page_of, status_of
from holdfast.seams import ApiError, ApiTransport, Clock, Random

T = TypeVar("T")

logger = logging.getLogger(__name__)


@dataclass(frozen=True, slots=True)
class WatchSettings:
    """Times in seconds. `silence_s` is above the minute in which the API server sends bookmarks where things happen."""

    page_size: int = 500
    list_timeout_s: float = 30.0
    watch_timeout_s: float = 270.0
    silence_s: float = 90.0
    backoff_first_s: float = 0.5
    backoff_max_s: float = 30.0
    short_s: float = 1.0


@dataclass(frozen=True, slots=True)
class Selection:
    """Which objects are followed: selectors that the server applies, and `keep`, which is asked of each one decoded.

    An object that `keep` refuses is as good as absent: it is dropped, and forgotten where an earlier version was kept.
    """

    labels: str = ""
    fields: str = ""
    keep: Callable[[Any], bool] = lambda item: True

    def query(self) -> dict[str, str]:
        """Return the selectors as parameters of a request."""
        given = {"labelSelector": self.labels, "fieldSelector": self.fields}
        return {name: value for name, value in given.items() if value}


class _ListAgain(Exception):
    """The watch cannot be continued from its version."""


# After so many silent watches in a row a list must show whether there is anything new. A resource in which nothing
# happens may be silent for that long on a sound server; it is soon enough for the process's health to stay good.
SILENT_WATCHES = 4


class Reflector(Generic[T]):
    """Lists and watches one resource into one cache, for ever; `run` ends only when it is cancelled."""

    def __init__(
        self,
        transport: ApiTransport,
        clock: Clock,
        random: Random,
        kind: Kind[T],
        cache: Cache[T],
        *,
        selection: Selection = Selection(),
        settings: WatchSettings = WatchSettings(),
    ) -> None:
        self._transport = transport
        self._clock = clock
        self._random = random
        self._kind = kind
        self._cache = cache
        self._path = kind.resource.collection(None)
        self._selector = selection.query()
        self._keep = selection.keep
        self._settings = settings
        self._decoding = Decoding(kind)
        self._version = ""
        self._contact = clock.monotonic()
        self._failures = 0
        self._silences = 0
        self._heard_since_list = True
        self._relist_listeners: list[Callable[[float], None]] = []
        self.odd_objects = 0
        self.relists = 0

    def on_relist(self, listener: Callable[[float], None]) -> None:
        """Call `listener(started_at)` (monotonic) when a complete list is in the cache."""
        self._relist_listeners.append(listener)

    def silence_s(self) -> float:
        """Return for how many seconds the cache may have been behind: since the last list, event or bookmark."""
        return self._clock.monotonic() - self._contact

    async def run(self) -> None:
        """Follow the API server until cancelled."""
        must_list = True
        while True:
            try:
                if must_list:
                    await self._list()
                    must_list = False
                await self._watch()
            except _ListAgain:
                must_list = True
                if not self._heard_since_list:
                    await self._back_off(None)
            except ApiError as error:
                must_list = must_list or error.status not in (0, 429) or self._silences >= SILENT_WATCHES
                logger.warning("watch.failed", extra=self._fields(error=str(error), status=error.status))
                await self._back_off(error.retry_after_s)

    async def _list(self) -> None:
        """Fill the cache from a complete list. A list that outlives its version is begun anew, at last unpaged."""
        for page_size in (self._settings.page_size, self._settings.page_size, 0):
            try:
                await self._list_once(page_size)
            except ApiError as error:
                if error.status != 410:
                    raise
            else:
                return
        raise ApiError(410, "Expired", f"the list of {self._kind.resource.plural} expires faster than it is read")

    async def _list_once(self, page_size: int) -> None:
        started_at = self._clock.monotonic()
        found: list[T] = []
        keep: list[Key] = []
        query = dict(self._selector)
        if page_size:
            query["limit"] = str(page_size)
        while True:
            payload = await self._transport.request(
                "GET", self._path, query=query, timeout_s=self._settings.list_timeout_s
            )
            try:
                page = page_of(payload)
            except msgspec.DecodeError as error:
                raise ApiError(0, "BadAnswer", f"a list that is none: {error}") from error
            for item in page.objects:
                try:
                    decoded = self._decoding.decode(item)
                    if self._keep(decoded):
                        found.append(decoded)
                except OddObject as odd:
                    self._count_odd(odd)
                    # Where not even its name can be read it may be any of those that are known: none of them is gone.
                    keep += [odd.header.identity.key] if odd.header is not None else self._cache.sorted_keys()
            if not page.metadata.continue_:
                break
            query["continue"] = page.metadata.continue_
        self._version = page.metadata.resource_version
        self._contact = self._clock.monotonic()
        self._heard_since_list = False
        self._silences = 0
        self.relists += 1
        self._cache.replace(found, keep=keep)
        for listener in self._relist_listeners:
            listener(started_at)

    async def _watch(self) -> None:
        """Follow one watch to its end. Raises `_ListAgain` where the next one needs a list before it."""
        seconds = self._settings.watch_timeout_s
        query = {
            **self._selector,
            "watch": "1",
            "allowWatchBookmarks": "true",
            "resourceVersion": self._version,
            "timeoutSeconds": str(int(self._random.uniform(seconds, seconds * 1.2))),
        }
        opened_at = self._clock.monotonic()
        try:
            async with self._transport.watch(
                self._path, query=query, idle_timeout_s=self._settings.silence_s
            ) as stream:
                async for line in stream:
                    self._take(line)
                    self._contact = self._clock.monotonic()
                    self._heard_since_list = True
                    self._failures = self._silences = 0
        except ApiError as error:
            if error.status == 410:
                raise _ListAgain from error
            self._silences += error.reason == "Silent"
            raise
        if self._clock.monotonic() - opened_at >= self._settings.short_s:
            self._failures = 0
        else:
            await self._back_off(None)

    def _take(self, line: bytes) -> None:
        try:
            event = event_of(line)
        except msgspec.DecodeError as error:
            # A torn line: the stream cannot be trusted any more, the version before it can.
            raise ApiError(0, "BadAnswer", f"a watch event that is none: {error}") from error
        if event.type == "ERROR":
            status = status_of(event.object)
            raise ApiError(status.code or 500, status.reason, status.message)
        try:
            self._apply(event)
        except OddObject as odd:
            self._count_odd(odd)
            if odd.header is not None:
                self._advance(odd.header.identity.version)

    def _apply(self, event: WatchEvent) -> None:
        if event.type in ("ADDED", "MODIFIED"):
            item = self._decoding.decode(event.object)
            identity = self._kind.identify(item)
            if not self._advance(identity.version):
                return
            if self._keep(item):
                self._cache.upsert(item)
            else:
                self._cache.remove(identity.key)
            return
        try:
            identity = header_of(event.object).identity
        except msgspec.DecodeError as error:
            raise OddObject(str(error), None) from error
        if event.type == "DELETED":
            if self._advance(identity.version):
                self._cache.remove(identity.key)
        elif reached(identity.version, self._version):
            # A bookmark holds nothing that could get lost: an old one is only useless.
            self._advance(identity.version)

    def _advance(self, version: str) -> bool:
        """Go on to an event's version. Return False where the event was there before.

        Raises `_ListAgain` where it is older than the one before it.
        """
        new, held = version_number(version), version_number(self._version)
        if 0 <= new < held:
            logger.warning("watch.disordered", extra=self._fields(version=version, after=self._version))
            raise _ListAgain
        if new == held >= 0:
            return False
        if version:
            self._version = version
        return True

    def _count_odd(self, odd: OddObject) -> None:
        self.odd_objects += 1
        key = odd.header.identity.key if odd.header is not None else ("?", "?")
        logger.warning("watch.odd_object", extra=self._fields(namespace=key[0], object=key[1], problem=str(odd)))

    async def _back_off(self, wish_s: float | None) -> None:
        settings = self._settings
        delay = min(settings.backoff_max_s, settings.backoff_first_s * 2 ** min(self._failures, 16))
        self._failures += 1
        await self._clock.sleep(max(wish_s or 0.0, delay * self._random.uniform(0.75, 1.25)))

    def _fields(self, **fields: object) -> dict[str, object]:
        return {"fields": {"resource": self._kind.resource.plural, **fields}}
