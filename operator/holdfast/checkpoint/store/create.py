"""Creating an object exactly once, whatever happens to the answers."""

from __future__ import annotations

from dataclasses import dataclass

from holdfast.seams import ObjectInfo, ObjectMissing, ObjectStore, PreconditionFailed


@dataclass(frozen=True, slots=True)
class Created:
    """What the bucket holds under the name now. `adopted` says that it was there before this call noticed."""

    data: bytes
    info: ObjectInfo
    adopted: bool


async def create_once(store: ObjectStore, name: str, data: bytes) -> Created:
    """Create the object, or return the one that is there already; the caller judges whether it will do.

    A creation whose answer was lost is found again as one that is there, with the same bytes.
    """
    while True:
        try:
            info = await store.put(name, data, if_generation=0)
            return Created(data, info, adopted=False)
        except PreconditionFailed:
            pass
        try:
            existing, info = await store.get(name)
        except ObjectMissing:
            # Deleted between the two calls: create it again.
            continue
        return Created(existing, info, adopted=True)
