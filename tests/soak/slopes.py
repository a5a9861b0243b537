"""Whether something grows: a robust slope over the lives of many processes, and the limits that it is judged by.

Processes come and go while the soak runs, so that no single life is long. What they use is therefore compared within
each life only, between samples that are some time apart, and the slopes of all pairs of all lives are taken together.
Their median is hardly moved by bursts; a leak moves it at once. A replica of the operator begins another life whenever
it begins or ceases to lead: what grows from one of them to the next is judged in `terms`.
"""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Iterable
from dataclasses import dataclass
from statistics import median

# A young process still fills its caches and pools.
WARM_UP_S = 60.0
# Between samples that are closer, noise is all there is to see.
APART_S = 30.0
# With less than this of observed life, all lives together, nothing can be said.
ENOUGH_S = 300.0


@dataclass(frozen=True)
class Limit:
    """How fast something may grow, in its unit an hour, and how much of it there may be at any time.

    What comes and goes with pods has no growth to be judged, only a most.
    """

    what: str
    per_hour: float | None
    most: float


MIB = float(1 << 20)

# Of a replica in one state. All together are below 150 open files, 120 sockets and 200 tasks.
_OF_A_TERM = (
    Limit("open files", 30, 120),
    Limit("sockets", 30, 90),
    Limit("tasks", 30, 110),
    Limit("series", 400, 1500),
    Limit("report connections", None, 30),
    Limit("report polls", None, 20),
)
# Growth: what would double a quiet process within a day or so is a leak. Most: far above what was ever measured.
LIMITS = {
    "operator": (Limit("memory", 40 * MIB, 300 * MIB), Limit("threads", 15, 60)),
    "leader": _OF_A_TERM,
    "standby": _OF_A_TERM,
    "sidecar": (
        Limit("memory", 40 * MIB, 200 * MIB),
        Limit("open files", 30, 100),
        Limit("sockets", 30, 60),
        Limit("threads", 30, 60),
    ),
}


@dataclass(frozen=True)
class Sample:
    """What one process used at one moment. `life` tells processes apart, `age_s` is how long this one has run, `leads`
    whether it led, for replicas of the operator that could be asked."""

    role: str
    life: str
    age_s: float
    values: dict[str, float]
    leads: bool | None = None


@dataclass(frozen=True)
class Verdict:
    """What came out for one thing. `first` and `last` are the medians, over all lives, of the first sample after the
    warm-up and the last one; `per_hour` is None where too little was seen to tell."""

    role: str
    limit: Limit
    lives: int
    seen_s: float
    first: float
    last: float
    highest: float
    per_hour: float | None

    @property
    def unjudged(self) -> bool:
        """Whether too little was seen to tell."""
        return self.per_hour is None and self.limit.per_hour is not None

    @property
    def breach(self) -> str:
        """What is wrong, or nothing."""
        what = f"{self.limit.what} of the {self.role}"
        if self.highest > self.limit.most:
            return f"{what} reached {self.highest:.0f}, more than {self.limit.most:.0f}"
        limit = self.limit.per_hour
        if self.per_hour is not None and limit is not None and self.per_hour > limit:
            return f"{what} grows by {self.per_hour:.0f} an hour, more than {limit:.0f}"
        return ""


def judge(samples: Iterable[Sample]) -> list[Verdict]:
    """Judge everything that has a limit."""
    lives: dict[str, dict[str, list[Sample]]] = defaultdict(lambda: defaultdict(list))
    for sample in samples:
        lives[sample.role][sample.life].append(sample)
    return [_verdict(role, limit, list(lives[role].values())) for role, limits in LIMITS.items() for limit in limits]


def _verdict(role: str, limit: Limit, lives: list[list[Sample]]) -> Verdict:
    tracks = [sorted((one.age_s, one.values[limit.what]) for one in life if limit.what in one.values) for life in lives]
    every = [value for track in tracks for _, value in track]
    grown = [[(age, value) for age, value in track if age >= WARM_UP_S] for track in tracks]
    seen = sum(track[-1][0] - track[0][0] for track in grown if track)
    return Verdict(
        role=role,
        limit=limit,
        lives=sum(bool(track) for track in tracks),
        seen_s=seen,
        first=_middle(track[0][1] for track in grown if track),
        last=_middle(track[-1][1] for track in grown if track),
        highest=max(every, default=0.0),
        per_hour=_slope(grown) if seen >= ENOUGH_S else None,
    )


def _middle(values: Iterable[float]) -> float:
    found = list(values)
    return median(found) if found else 0.0


def _slope(tracks: Iterable[list[tuple[float, float]]]) -> float | None:
    """The median growth in an hour between two samples of the same life."""
    slopes = [
        (later - earlier) / (end - begin) * 3600
        for track in tracks
        for number, (begin, earlier) in enumerate(track)
        for end, later in track[number + 1 :]
        if end - begin >= APART_S
    ]
    return median(slopes) if slopes else None
