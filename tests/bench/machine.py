"""What the measurements were made on, and what processes have used of it."""

from __future__ import annotations

import os
import platform
from dataclasses import asdict, dataclass
from importlib.metadata import version
from pathlib import Path

_TICK = os.sysconf("SC_CLK_TCK")
_PACKAGES = ("kopf", "aiohttp", "uvloop", "msgspec", "orjson", "pydantic")


@dataclass(frozen=True)
class Machine:
    """Cores, memory, kernel and versions."""

    cores: int
    processor: str
    memory_gib: float
    kernel: str
    python: str
    packages: dict[str, str]

    def as_json(self) -> dict[str, object]:
        return asdict(self)

    def line(self) -> str:
        hardware = f"{self.cores} cores ({self.processor}), {self.memory_gib:.0f} GiB"
        return f"{hardware}, Linux {self.kernel}, Python {self.python}"


def machine() -> Machine:
    """Describe the machine that this runs on."""
    names = [line.split(":", 1)[1].strip() for line in _lines("/proc/cpuinfo", "model name")]
    total = int(_lines("/proc/meminfo", "MemTotal")[0].split()[1])
    return Machine(
        cores=os.cpu_count() or 0,
        processor=names[0] if names else platform.machine(),
        memory_gib=total / 2**20,
        kernel=platform.release(),
        python=platform.python_version(),
        packages={name: version(name) for name in _PACKAGES},
    )


def cpu_s(pid: int) -> float:
    """Return the seconds of CPU that a process has used, its threads included."""
    fields = _read(f"/proc/{pid}/stat").rsplit(")", 1)[1].split()
    return (int(fields[11]) + int(fields[12])) / _TICK


def busy_s() -> float:
    """Return the seconds of CPU that the whole machine has used, whoever it was for."""
    fields = [int(word) for word in _read("/proc/stat").splitlines()[0].split()[1:]]
    user, nice, system, _, _, irq, softirq, steal = fields[:8]
    return (user + nice + system + irq + softirq + steal) / _TICK


def memory_mb(pid: int, *, peak: bool) -> float:
    """Return the resident memory of a process in MB, now or at its peak."""
    word = "VmHWM:" if peak else "VmRSS:"
    return int(_lines(f"/proc/{pid}/status", word)[0].split()[1]) / 1000


def _lines(path: str, start: str) -> list[str]:
    return [line for line in _read(path).splitlines() if line.startswith(start)]


def _read(path: str) -> str:
    return Path(path).read_text()
