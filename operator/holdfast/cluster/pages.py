"""Lists and watch events as they come over the wire, decoded with a struct and never as a whole dictionary."""

from __future__ import annotations

from typing import Generic, Literal, TypeVar

import msgspec

from holdfast.cluster.objects import Header, Kind, header_of

T = TypeVar("T")

EventType = Literal["ADDED", "MODIFIED", "DELETED", "BOOKMARK", "ERROR"]


class ListMeta(msgspec.Struct, frozen=True, gc=False, rename="camel"):
    """The `metadata` of a list; `continue_` is the token of the next page, empty on the last one."""

    resource_version: str = ""
    continue_: str = msgspec.field(default="", name="continue")


class Page(msgspec.Struct, frozen=True):
    """One page of a list, its items not decoded yet. An empty list of metadata only says `null`."""

    metadata: ListMeta = ListMeta()
    items: list[msgspec.Raw] | None = None

    @property
    def objects(self) -> list[msgspec.Raw]:
        """Return the items, none where the server says so in whatever way."""
        return self.items or []


class WatchEvent(msgspec.Struct, frozen=True):
    """One line of a watch, its object not decoded yet."""

    type: str
    object: msgspec.Raw = msgspec.Raw(b"{}")


class ErrorStatus(msgspec.Struct, frozen=True, gc=False):
    """The `Status` object of an ERROR event or of a refused request."""

    code: int = 0
    reason: str = ""
    message: str = ""


_page = msgspec.json.Decoder(Page)
_event = msgspec.json.Decoder(WatchEvent)
_status = msgspec.json.Decoder(ErrorStatus)


class OddObject(Exception):
    """An object that the struct cannot hold. `header` says whose it is, where at least that could be read."""

    def __init__(self, problem: str, header: Header | None) -> None:
        super().__init__(problem)
        self.header = header


class Decoding(Generic[T]):
    """Decodes the objects of one kind."""

    def __init__(self, kind: Kind[T]) -> None:
        self._decoder = msgspec.json.Decoder(kind.struct)
        self._lean = kind.lean

    def decode(self, payload: bytes | msgspec.Raw) -> T:
        """Return the object. Raises `OddObject`."""
        try:
            decoded = self._decoder.decode(payload)
        except msgspec.DecodeError as error:
            try:
                header = header_of(payload)
            except msgspec.DecodeError:
                header = None
            raise OddObject(str(error), header) from error
        return decoded if self._lean is None else self._lean(decoded)


def page_of(payload: bytes) -> Page:
    """Decode one page of a list. Raises `msgspec.DecodeError`."""
    return _page.decode(payload)


def event_of(line: bytes) -> WatchEvent:
    """Decode the frame of one watch event. Raises `msgspec.DecodeError`."""
    return _event.decode(line)


def status_of(payload: bytes | msgspec.Raw) -> ErrorStatus:
    """Decode a `Status` object; what is none becomes an empty one, its text cut to 500 characters."""
    try:
        return _status.decode(payload)
    except msgspec.DecodeError:
        return ErrorStatus(message=bytes(payload[:500]).decode("utf-8", "replace"))
