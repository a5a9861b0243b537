"""Measures the operator: `python -m tests.bench`. See docs/benchmarks.md."""

from __future__ import annotations

import argparse
import asyncio
import json
import os
import tempfile
import time
from pathlib import Path

import uvloop

from deploy.kind.console import say
from tests.bench import idle, report, starts, writes
from tests.bench.lab import ROOT, lab
from tests.bench.machine import machine
from tests.bench.measured import Sample

PARTS = ("many", "gang", "idle", "writes")
CRD = ROOT / "crds/holdfast.dev_trainingjobs.yaml"


def _arguments() -> argparse.Namespace:
    parser = argparse.ArgumentParser(prog="python -m tests.bench", description=__doc__)
    parser.add_argument(
        "parts", nargs="*", default=list(PARTS), metavar="PART", help=f"of {', '.join(PARTS)} (default: all)"
    )
    parser.add_argument("--rounds", type=int, default=3)
    parser.add_argument("--jobs", type=int, default=1000, help="jobs of two pods")
    parser.add_argument("--frameworks", default="Plain,JAX", help="of the many jobs")
    parser.add_argument("--workers", type=int, default=1000, help="workers of the one large job")
    parser.add_argument("--idle-jobs", type=int, default=2000)
    parser.add_argument("--idle-seconds", type=float, default=60)
    parser.add_argument("--crd", type=Path, action="append", help="of the writes: definitions to measure by turns")
    parser.add_argument("--name", default="bench", help="name of the control plane")
    parser.add_argument("--keep", action="store_true", help="leave the control plane up")
    parser.add_argument("--results", type=Path, default=None, help="file for the results as JSON")
    return parser.parse_args()


async def run(wanted: argparse.Namespace, folder: Path, results: Path) -> dict[str, object]:
    """Run the wanted parts; what is known is in `results` after each of them."""
    samples: list[Sample] = []
    found: dict[str, object] = {"machine": machine().as_json(), "commit": report.commit(), "nice": os.nice(0)}

    def keep(number: int, *more: Sample) -> None:
        for sample in more:
            samples.append(sample)
            _tell(number, sample)
        found["samples"] = [sample.as_json() for sample in samples]
        found["table"] = report.rows(samples)
        results.write_text(json.dumps(found, indent=1))

    async with lab(wanted.name, folder, keep=wanted.keep) as made:
        found["kubernetes"] = await made.version()
        for number in range(wanted.rounds):
            if "many" in wanted.parts:
                keep(number, await starts.bare(made, 2 * wanted.jobs))
                for name in wanted.frameworks.split(","):
                    keep(number, await starts.many(made, wanted.jobs, 2, name))
            if "gang" in wanted.parts:
                keep(number, await starts.bare(made, wanted.workers))
                keep(number, *await starts.gang(made, wanted.workers, "Plain"))
        if "idle" in wanted.parts:
            found["idle"] = await idle.idle(made, wanted.idle_jobs, 2, wanted.idle_seconds)
        if "writes" in wanted.parts:
            found["writes"] = await writes.writes(made, wanted.rounds, wanted.crd or [CRD])
        keep(wanted.rounds)
    return found


def _tell(number: int, sample: Sample) -> None:
    say(
        f"round {number + 1}: {sample.name}: {sample.wall_s:.1f} s, {sample.rate:.0f} pods/s, "
        f"told {sample.told_s:.1f} s, operator {1000 * sample.operator_cpu_s / sample.objects:.2f} ms, API server "
        f"{1000 * sample.cpu_s['kube-apiserver'] / sample.objects:.1f} ms an object, others {100 * sample.others:.0f} %"
    )


def main() -> None:
    wanted = _arguments()
    folder = Path(tempfile.mkdtemp(prefix="holdfast-bench-"))
    results = wanted.results or folder / f"bench-{time.strftime('%Y%m%d-%H%M%S')}.json"
    with asyncio.Runner(loop_factory=uvloop.new_event_loop) as runner:
        found = runner.run(run(wanted, folder, results))
    print(report.text(found))
    print(f"results: {results}; logs: {folder}")


if __name__ == "__main__":
    main()
