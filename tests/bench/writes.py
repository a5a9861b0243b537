"""What single writes of a TrainingJob cost the API server: its creation, its first status, and later ones.

No operator runs. Several definitions are measured by turns, so that a change of `crds/` can be told from the machine's
moods.
"""

from __future__ import annotations

import asyncio
import itertools
import os
from collections.abc import Callable, Coroutine
from datetime import UTC, datetime
from pathlib import Path
from statistics import median
from typing import Any, Final

import orjson
import yaml

from deploy.kind.console import say
from holdfast.api.conditions import ConditionType
from holdfast.api.labels import API_VERSION
from holdfast.api.reasons import Reason
from holdfast.api.status import (
    AttemptRow,
    CheckpointStatus,
    CommittedCheckpoint,
    Condition,
    Phase,
    Progress,
    TrainingJobStatus,
    WorkerCounts,
)
from holdfast.planning.plan import TRAINING_JOBS
from tests.bench import load
from tests.bench.lab import CRDS, ROOT, Lab

JOBS: Final = 600
_LATER: Final = 2
_SERVED_S: Final = 6
_NOW: Final = datetime(2026, 11, 22, 19, 0, tzinfo=UTC)
_COUNTS: Final = WorkerCounts(desired=2, created=2, running=2)
_COMMITS: Final = tuple(
    CommittedCheckpoint(step=step, run=1, committed_at=_NOW, bytes=1 << 30, manifest=f"runs/00000001/steps/{step}.json")
    for step in (300, 200, 100)
)

_numbers = itertools.count()

Found = dict[str, dict[str, list[float]]]


def _kinds() -> dict[str, tuple[load.Manifest, TrainingJobStatus]]:
    """Return the specs of two jobs, each with what its status says while it runs: the least, and that of an example."""
    digits = yaml.safe_load((ROOT / "examples/digits/job.yaml").read_text())
    return {
        "bare": (load.job("", "", 2, "Plain")["spec"], _status(ConditionType.ACCEPTED, ConditionType.RUNNING)),
        "digits": (
            digits["spec"],
            _status(*tuple(ConditionType)[:6]).model_copy(
                update={
                    "progress": Progress(step=342, total=1000, loss="0.25", steps_per_second="12.5"),
                    "checkpoint": CheckpointStatus(latest=_COMMITS[0], restored_step=0, commits=_COMMITS),
                }
            ),
        ),
    }


def _status(*conditions: ConditionType) -> TrainingJobStatus:
    said = {"status": "True", "observed_generation": 1, "last_transition_time": _NOW, "reason": Reason.RUNNING.value}
    return TrainingJobStatus(
        conditions=tuple(Condition(type=kind.value, message="All is well.", **said) for kind in conditions),
        observed_generation=1,
        phase=Phase.RUNNING,
        reason=Reason.RUNNING.value,
        attempt=1,
        restarts=0,
        workers=_COUNTS,
        attempts=(AttemptRow(attempt=1, started_at=_NOW),),
    )


async def writes(lab: Lab, rounds: int, definitions: list[Path]) -> Found:
    """Return milliseconds of the API server's CPU a write, by definition and what was written."""
    found: Found = {}
    read = {str(path): yaml.safe_load(path.read_text()) for path in definitions}
    for number, path in itertools.product(range(rounds), read):
        await _serve(lab, read[path])
        for kind, (spec, status) in _kinds().items():
            namespace = f"writes-{os.getpid()}-{next(_numbers)}-{kind}"
            await load.make_namespace(lab.transport, namespace)
            cost = found.setdefault(path, {})
            for what, ms in await _cost(lab, namespace, spec, status):
                cost.setdefault(f"{kind}, {what}", []).append(round(ms, 2))
            await load.clear(lab.transport, namespace)
        say(f"round {number + 1}: {path}: " + ", ".join(f"{what} {ms[-1]}" for what, ms in cost.items()))
    return found


async def _serve(lab: Lab, definition: load.Manifest) -> None:
    place = CRDS.item(None, definition["metadata"]["name"])
    served = orjson.loads(await lab.transport.request("GET", place))
    served["spec"] = definition["spec"]
    await lab.transport.request("PUT", place, body=orjson.dumps(served), timeout_s=30)
    # Nothing tells when the API server has built its handlers and schemas anew.
    await asyncio.sleep(_SERVED_S)
    await lab.settle()


async def _cost(lab: Lab, namespace: str, spec: load.Manifest, status: TrainingJobStatus) -> list[tuple[str, float]]:
    held: dict[int, Any] = {}

    def manifest(index: int, **more: Any) -> load.Manifest:
        metadata = {"name": f"job-{index:04d}", "namespace": namespace, **more.pop("metadata", {})}
        return {"apiVersion": API_VERSION, "kind": "TrainingJob", "metadata": metadata, **more}

    async def create(index: int) -> None:
        body = orjson.dumps(manifest(index, spec=spec))
        held[index] = orjson.loads(
            await lab.transport.request("POST", TRAINING_JOBS.collection(namespace), body=body, timeout_s=30)
        )

    def replace(message: str) -> Callable[[int], Coroutine[Any, Any, None]]:
        async def one(index: int) -> None:
            version = {"resourceVersion": held[index]["metadata"]["resourceVersion"]}
            body = manifest(index, metadata=version, status={**status.dump(), "message": message})
            path = f"{TRAINING_JOBS.item(namespace, f'job-{index:04d}')}/status"
            held[index] = orjson.loads(await lab.transport.request("PUT", path, body=orjson.dumps(body), timeout_s=30))

        return one

    found = [("create", await _timed(lab, create)), ("first status", await _timed(lab, replace("0")))]
    return found + [("later status", await _timed(lab, replace(str(1 + turn)))) for turn in range(_LATER)]


async def _timed(lab: Lab, write: Callable[[int], Coroutine[Any, Any, None]]) -> float:
    await lab.settle()
    before = lab.cpu()["kube-apiserver"]
    await load.in_parallel(write, range(JOBS))
    return 1000 * (lab.cpu()["kube-apiserver"] - before) / JOBS


def lines(found: Found) -> list[str]:
    """Return a table: medians in milliseconds, smallest and largest in brackets."""
    whats = list(next(iter(found.values())))
    told = ["| API server, ms a write | " + " | ".join(whats) + " |", "|---" * (len(whats) + 1) + "|"]
    for path, cost in found.items():
        cells = [f"{median(cost[what]):.1f} ({min(cost[what]):.1f}..{max(cost[what]):.1f})" for what in whats]
        told.append(f"| {path} | " + " | ".join(cells) + " |")
    return told
