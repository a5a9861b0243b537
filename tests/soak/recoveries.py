"""How long it takes until all is well after a fault: one thread a fault asks, and writes the time down."""

from __future__ import annotations

import threading
import time
from collections import Counter, defaultdict
from collections.abc import Callable
from statistics import median

from kubernetes.client import ApiException
from urllib3.exceptions import HTTPError

from deploy.kind.console import Problem, say

WITHIN_S = 300.0
_EVERY_S = 1.0
_TROUBLE = (Problem, ApiException, HTTPError, OSError, LookupError)

# Whether all is well again; None where it cannot be told any more, because what was hit is no longer wanted.
Ask = Callable[[], bool | None]


class Recoveries:
    """Takes the times. What is not well in `within_s` is written to `breaches`."""

    def __init__(self, within_s: float = WITHIN_S, every_s: float = _EVERY_S) -> None:
        self._within_s, self._every_s = within_s, every_s
        self._lock = threading.Lock()
        self._open = 0
        self.seconds: dict[str, list[float]] = defaultdict(list)
        self.moot: Counter[str] = Counter()
        self.breaches: list[str] = []

    @property
    def pending(self) -> int:
        """How many are still waited for."""
        with self._lock:
            return self._open

    def expect(self, kind: str, whom: str, ask: Ask) -> None:
        """Wait, from now on and apart from the caller, until `ask` says that all is well."""
        with self._lock:
            self._open += 1
        threading.Thread(target=self._wait, args=(kind, whom, ask), name=f"recovery {whom}", daemon=True).start()

    def told(self, kind: str) -> tuple[int, float, float]:
        """How many recoveries were seen, and their median and longest time."""
        with self._lock:
            found = self.seconds.get(kind) or [0.0]
            return len(self.seconds.get(kind, ())), median(found), max(found)

    def _wait(self, kind: str, whom: str, ask: Ask) -> None:
        began = time.monotonic()
        answer: bool | None = False
        while answer is False and time.monotonic() - began < self._within_s:
            time.sleep(self._every_s)
            try:
                answer = ask()
            except _TROUBLE:
                # What it asks may be what is away.
                answer = False
        with self._lock:
            self._open -= 1
            if answer is None:
                self.moot[kind] += 1
            elif answer:
                self.seconds[kind].append(time.monotonic() - began)
            else:
                self.breaches.append(f"{kind}: {whom} is not well again within {self._within_s:.0f} s")
                say(f"BREACH: {self.breaches[-1]}")
