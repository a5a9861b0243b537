"""The results as tables."""

from __future__ import annotations

import subprocess
from collections.abc import Sequence
from statistics import median
from typing import Any

from tests.bench import writes
from tests.bench.machine import machine
from tests.bench.measured import Sample

Row = dict[str, Any]


def commit() -> str:
    """Return the commit that is measured."""
    done = subprocess.run(["git", "describe", "--always", "--dirty"], capture_output=True, text=True, check=False)
    return done.stdout.strip()


def rows(samples: Sequence[Sample]) -> list[Row]:
    """Return one row a scenario: medians, smallest and largest, and the ratio to the floor of the same round."""
    floors: dict[str, list[float]] = {}
    walls: dict[int, float] = {}
    for sample in samples:
        if sample.name == "bare pods":
            walls[sample.pods] = sample.wall_s
        else:
            floors.setdefault(sample.name, []).append(sample.wall_s / walls[sample.pods])
    found: list[Row] = []
    for name, pods in dict.fromkeys((sample.name, sample.pods) for sample in samples):
        mine = [sample for sample in samples if (sample.name, sample.pods) == (name, pods)]
        row: Row = {
            "name": name, "pods": pods, "objects": mine[0].objects, "rounds": len(mine),
            "wall_s": _spread([one.wall_s for one in mine]),
            "told_s": _spread([one.told_s for one in mine]),
            "pods_per_s": _spread([one.rate for one in mine]),
            "wall_to_floor": _spread(floors.get(name, [1.0])),
            "rate_to_floor": _spread([1 / value for value in floors.get(name, [1.0])]),
            "operator_ms": _spread([1000 * one.operator_cpu_s / one.objects for one in mine]),
            "operator_peak_mb": _spread([one.operator_peak_mb for one in mine]),
            "apiserver_ms": _spread([1000 * one.cpu_s["kube-apiserver"] / one.objects for one in mine]),
            "all_cpu_s": _spread([sum(one.cpu_s.values()) + one.operator_cpu_s for one in mine]),
            "others": _spread([one.others for one in mine]),
            "writes_per_object": {
                verb: round(median(one.writes.get(verb, 0) for one in mine) / mine[0].objects, 2)
                for verb in sorted({verb for one in mine for verb in one.writes})
            },
        }  # fmt: skip
        found.append(row)
    return found


def text(found: dict[str, Any]) -> str:
    """Return everything as Markdown."""
    lines = [f"Machine: {machine().line()}; Kubernetes {found.get('kubernetes', '-')}; commit {found['commit']}.", ""]
    lines += [
        "| what | rounds | all pods run, s | pods/s | rate to floor | wall to floor | all told, s "
        "| operator ms an object | its peak MB | API server ms an object | CPU of all, s | others |",
        "|---|---|---|---|---|---|---|---|---|---|---|---|",
    ]
    for row in found.get("table", []):
        lines.append(
            f"| {row['name']}{' N=' + str(row['pods']) if row['name'] == 'bare pods' else ''} | {row['rounds']} | "
            f"{_show(row['wall_s'])} | {_show(row['pods_per_s'], 0)} | {_show(row['rate_to_floor'], 2)} | "
            f"{_show(row['wall_to_floor'], 2)} | {_show(row['told_s'])} | {_show(row['operator_ms'], 2)} | "
            f"{_show(row['operator_peak_mb'], 0)} | {_show(row['apiserver_ms'])} | {_show(row['all_cpu_s'])} | "
            f"{_show(row['others'], 2)} |"
        )
    lines.append("")
    for row in found.get("table", []):
        told = ", ".join(f"{verb} {number:g}" for verb, number in row["writes_per_object"].items() if number >= 0.01)
        lines.append(f"writes an object, {row['name']} (N={row['pods']}): {told}")
    if "idle" in found:
        lines += ["", *(f"{key}: {value}" for key, value in found["idle"].items())]
    if "writes" in found:
        lines += ["", *writes.lines(found["writes"])]
    return "\n".join(lines)


def _spread(values: Sequence[float]) -> tuple[float, float, float]:
    return (round(median(values), 3), round(min(values), 3), round(max(values), 3))


def _show(spread: tuple[float, float, float], digits: int = 1) -> str:
    middle, low, high = (f"{value:.{digits}f}" for value in spread)
    return middle if low == high else f"{middle} ({low}..{high})"
