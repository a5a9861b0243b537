"""The chart's upkeep: ``python3 -m deploy.chart sync | check | helm ARGS...``.

``sync`` copies the generated CRDs into the chart, ``check`` fails where they differ or Helm finds fault with the chart,
``helm`` runs the project's own Helm, which is built from its Go module when it is first needed.
"""

import os
import sys
from collections.abc import Sequence
from pathlib import Path

from deploy.kind import gotools
from deploy.kind.console import Problem, say
from deploy.kind.paths import cache
from deploy.kind.process import run

ROOT = Path(__file__).resolve().parents[1]
GENERATED = ROOT / "crds"
CHART = ROOT / "charts/holdfast"
COPIES = CHART / "files/crds"


def main(words: Sequence[str]) -> int:
    """Run one verb; returns the exit code."""
    try:
        match list(words):
            case ["sync"]:
                sync()
            case ["check"]:
                check()
            case ["helm", *rest]:
                os.execv(helm(), ["helm", *rest])
            case _:
                print(__doc__, file=sys.stderr)
                return 2
    except Problem as problem:
        say(f"error: {problem}")
        return 1
    return 0


def helm() -> Path:
    """The project's own Helm.

    Raises:
        Problem: if it has to be built and cannot be.
    """
    return gotools.ensure(gotools.HELM, cache()) / "helm"


def stale() -> list[str]:
    """Names of CRDs that differ between the generated folder and the chart, or are in one of them only."""
    ours = {path.name: path.read_bytes() for path in GENERATED.glob("*.yaml")}
    theirs = {path.name: path.read_bytes() for path in COPIES.glob("*.yaml")}
    return sorted(name for name in ours.keys() | theirs.keys() if ours.get(name) != theirs.get(name))


def sync() -> None:
    """Make the chart's copies equal to the generated CRDs."""
    for name in stale():
        source = GENERATED / name
        if source.is_file():
            (COPIES / name).write_bytes(source.read_bytes())
            say(f"{name}: copied into the chart")
        else:
            (COPIES / name).unlink()
            say(f"{name}: removed from the chart")


def check() -> None:
    """Compare the copies, and let Helm look at the chart.

    Raises:
        Problem: naming what is wrong.
    """
    if different := stale():
        raise Problem(f"{', '.join(different)}: the chart's copy is out of date, run make crds")
    print(run([helm(), "lint", "--strict", "--quiet", CHART], timeout_s=60), end="")


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
