"""Nodes that pods are bound to and the cache does not hold: gone only where the API server says so itself.

A watch may lag or be cut while the pods' watch works. Then a new node is not in the cache yet, and that must not look
like a node that the cloud has taken away.
"""

from __future__ import annotations

import asyncio
from collections.abc import Iterable
from dataclasses import dataclass

import msgspec

from holdfast.cluster.client import ApiClient
from holdfast.cluster.parallel import each
from holdfast.planning.observed import Metadata, Node
from holdfast.planning.plan import NODES
from holdfast.seams import ApiError, Clock, Spawner

LOOK_AGAIN_S = 5.0
# No read is begun after this time of one pass; the rest is asked by the next ones.
PASS_S = 4.0
# Reads at once, over all passes: fewer than there are turns, so that other reads do not stand behind a thousand nodes.
WIDTH = 8


@dataclass(frozen=True, slots=True)
class _Look:
    """What the last read of one node said, None for a node that is gone, and when (monotonic)."""

    node: Node | None
    at: float


class MissingNodes:
    """Reads each missing node at most once in `LOOK_AGAIN_S`, whoever asks."""

    def __init__(self, client: ApiClient, clock: Clock, spawner: Spawner) -> None:
        self._client = client
        self._clock = clock
        self._spawner = spawner
        self._looks: dict[str, _Look] = {}
        self._reading = asyncio.Semaphore(WIDTH)

    async def find(self, names: Iterable[str]) -> dict[str, Node]:
        """Return those of `names` that are not confirmed to be gone.

        A node that cannot be read is one without conditions: nothing is known about it.
        """
        began = self._clock.monotonic()
        self._looks = {name: look for name, look in self._looks.items() if began - look.at < LOOK_AGAIN_S}
        wanted = sorted(set(names))

        async def look(name: str) -> None:
            async with self._reading:
                # Another pass may have asked meanwhile.
                if name not in self._looks and self._clock.monotonic() - began < PASS_S:
                    self._looks[name] = _Look(await self._read(name), self._clock.monotonic())

        await each([name for name in wanted if name not in self._looks], look, width=WIDTH, spawner=self._spawner)
        answers = {name: self._looks[name].node if name in self._looks else _unknown(name) for name in wanted}
        return {name: node for name, node in answers.items() if node is not None}

    async def _read(self, name: str) -> Node | None:
        try:
            document = await self._client.get(NODES, "", name)
        except ApiError:
            return _unknown(name)
        if document is None:
            return None
        try:
            return msgspec.convert(document, Node)
        except msgspec.ValidationError:
            return _unknown(name)


def _unknown(name: str) -> Node:
    return Node(metadata=Metadata(name=name))
