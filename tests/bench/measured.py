"""One measured stretch: wall time, CPU of everybody, writes."""

from __future__ import annotations

import time
from dataclasses import asdict, dataclass, field

from tests.bench import counts, machine
from tests.bench.lab import Lab
from tests.bench.operators import Replica


@dataclass
class Sample:
    """One round of one scenario.

    `wall_s` ends when all pods run; `told_s` when the status of all jobs says so too. CPU and writes are those of the
    whole stretch. `others` is the part of the machine that everything else used meanwhile.
    """

    name: str
    objects: int
    pods: int
    wall_s: float = 0.0
    told_s: float = 0.0
    cpu_s: dict[str, float] = field(default_factory=dict)
    operator_cpu_s: float = 0.0
    operator_peak_mb: float = 0.0
    writes: dict[str, int] = field(default_factory=dict)
    others: float = 0.0

    @property
    def rate(self) -> float:
        """Return pods a second."""
        return self.pods / self.wall_s

    def as_json(self) -> dict[str, object]:
        return asdict(self)


class Stretch:
    """Counts from `begin` to `end`."""

    def __init__(self, lab: Lab, operator: Replica | None) -> None:
        self._lab = lab
        self._operator = operator

    async def begin(self) -> None:
        self._writes = await counts.writes(self._lab.transport)
        self._cpu = self._lab.cpu()
        self._own = self._operator.cpu_s() if self._operator else 0.0
        self._harness = time.process_time()
        self._busy = machine.busy_s()
        self.began = time.monotonic()

    async def end(self, sample: Sample) -> Sample:
        after = self._lab.cpu()
        wall = time.monotonic() - self.began
        busy = machine.busy_s() - self._busy
        sample.cpu_s = {part: round(after[part] - self._cpu[part], 2) for part in after}
        sample.cpu_s["client"] = round(time.process_time() - self._harness, 2)
        if self._operator is not None:
            sample.operator_cpu_s = round(self._operator.cpu_s() - self._own, 3)
            sample.operator_peak_mb = self._operator.peak_mb()
        ours = sum(sample.cpu_s.values()) + sample.operator_cpu_s
        sample.others = round(max(0.0, busy - ours) / (wall * machine.machine().cores), 3)
        sample.writes = dict(counts.between(self._writes, await counts.writes(self._lab.transport)))
        return sample
