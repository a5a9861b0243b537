"""Which fault comes next: all kinds in a shuffled order, then all of them again in another one."""

from __future__ import annotations

import random
import threading
from collections.abc import Mapping


class Deck:
    """Draws from `cards` (kind: how many of it there are in one round), so that no kind is left out by chance.

    Reads the same seed the same way; a kind that could not be made goes under the cards that are left.
    """

    def __init__(self, cards: Mapping[str, int], chance: random.Random) -> None:
        self._cards = [kind for kind, count in cards.items() for _ in range(count)]
        self._chance = chance
        self._left: list[str] = []
        self._lock = threading.Lock()

    def draw(self) -> str:
        """The next kind."""
        with self._lock:
            if not self._left:
                self._left = list(self._cards)
                self._chance.shuffle(self._left)
            return self._left.pop()

    def put_back(self, kind: str) -> None:
        """Have a kind that could not be made once more in this round."""
        with self._lock:
            self._left.insert(0, kind)
