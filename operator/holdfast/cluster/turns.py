"""How many requests of one process may be under way at once, by what they do; the rest waits for its turn.

The transport has a connection for every turn: what has its turn is sent at once, and its time is not used up in a line
that it knows nothing of. The three kinds do not wait for each other: slow reads hold no mutation up, and lists, which
may take long, no read of a single object. The Lease stands in no line at all, see `lease`.
"""

from __future__ import annotations

import asyncio
from typing import Final

MUTATIONS: Final = 32
READS: Final = 16
LISTS: Final = 8


class Turns:
    """The turns of one process: all its `ApiClient`s that make passes share them. Who asks first is first."""

    def __init__(self) -> None:
        self.mutations = asyncio.Semaphore(MUTATIONS)
        self.reads = asyncio.Semaphore(READS)
        self.lists = asyncio.Semaphore(LISTS)
