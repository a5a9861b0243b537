"""What a replica of the operator uses, told apart by whether it leads, and what it keeps of each term that it has led.

A leader has workers and connections that a standby has not, whenever it took over. So its life as a leader begins when
it takes over, and its life as a standby when it ceases to lead: each is judged by itself, as if it were a process
(`stretches`). What is left over each time would not be seen in either of them, only from one to the next one of the
same kind: that is judged for each term (`judge`), from the end of the first one on, which begins series and loads what
stays for good.
"""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Iterable
from dataclasses import dataclass, replace
from itertools import combinations
from statistics import median

from tests.soak.slopes import MIB, WARM_UP_S, Sample

LEADER, STANDBY = "leader", "standby"

# How much more there may be of something after each term. Memory and series grow a little with all that happens.
MOST_A_TERM = {"memory": MIB, "open files": 2.0, "sockets": 2.0, "threads": 1.0, "tasks": 2.0, "series": 10.0}
# How often replicas must have been in a state again, all together, for anything to be said.
ENOUGH_RETURNS = 4
# Connections are opened and closed in the minute after a change. Two stretches are compared where they are as old.
_AS_OLD_S = 5.0


@dataclass(frozen=True)
class TermVerdict:
    """What came out for one thing in one state; `per_term` is None where there were too few terms to tell."""

    role: str
    what: str
    returns: int
    per_term: float | None
    limit: float

    @property
    def breach(self) -> str:
        """What is wrong, or nothing."""
        if self.per_term is None or self.per_term <= self.limit:
            return ""
        return f"{self.what} of the {self.role} grows by {self.per_term:.1f} a term, more than {self.limit:.1f}"


@dataclass(frozen=True)
class _Stretch:
    """The samples of a time in which one process led, or did not. `begun` is its age then; `terms` those before it."""

    role: str
    terms: int
    begun: float
    samples: list[Sample]


def stretches(samples: Iterable[Sample]) -> list[Sample]:
    """The samples of replicas, as those of leaders and standbys that begin to live when they become that."""
    return [
        replace(one, role=stretch.role, life=f"{process}/{number}", age_s=one.age_s - stretch.begun)
        for process, found in _by_process(samples).items()
        for number, stretch in enumerate(found)
        for one in stretch.samples
    ]


def judge(samples: Iterable[Sample]) -> list[TermVerdict]:
    """Judge what grows with each term that a process leads."""
    processes = _by_process(samples)
    verdicts = []
    for role in (LEADER, STANDBY):
        lives = [[one for one in found if one.role == role and one.terms] for found in processes.values()]
        returns = sum(max(0, len(life) - 1) for life in lives)
        pairs = [pair for life in lives for pair in combinations(life, 2)]
        for what, limit in MOST_A_TERM.items():
            grown = [growth for earlier, later in pairs for growth in _growth(earlier, later, what)]
            enough = returns >= ENOUGH_RETURNS and grown
            verdicts.append(TermVerdict(role, what, returns, median(grown) if enough else None, limit))
    return verdicts


def _by_process(samples: Iterable[Sample]) -> dict[str, list[_Stretch]]:
    """Every process's stretches, in the order of time."""
    lives: dict[str, list[Sample]] = defaultdict(list)
    for sample in samples:
        if sample.leads is not None:
            lives[sample.life].append(sample)
    return {process: _cut(sorted(life, key=lambda one: one.age_s)) for process, life in lives.items()}


def _cut(life: list[Sample]) -> list[_Stretch]:
    found: list[_Stretch] = []
    terms = 0
    for sample in life:
        role = LEADER if sample.leads else STANDBY
        if not found or found[-1].role != role:
            if found and found[-1].role == LEADER:
                terms += 1
            # One that stood by from its start on has been that for as long as it lives.
            begun = sample.age_s if found or role == LEADER else 0.0
            found.append(_Stretch(role, terms, begun, []))
        found[-1].samples.append(sample)
    return found


def _growth(earlier: _Stretch, later: _Stretch, what: str) -> list[float]:
    """How much more of it there was for each term between, at moments that can be compared."""
    return [
        (after.values[what] - before.values[what]) / (later.terms - earlier.terms)
        for before in earlier.samples
        for after in later.samples
        if before.age_s >= WARM_UP_S and _alike(before.age_s - earlier.begun, after.age_s - later.begun)
    ]


def _alike(one_s: float, other_s: float) -> bool:
    return abs(one_s - other_s) <= _AS_OLD_S or min(one_s, other_s) >= WARM_UP_S
