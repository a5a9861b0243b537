"""The proof at the end: what the disasters cost, and that the result is the one of a calm run."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any

from deploy.demo.job import Job
from deploy.kind.console import Problem

Fields = dict[str, Any]


@dataclass(frozen=True)
class Disaster:
    """One fault. ``at_step`` is what the trainer had reached, ``resumed_from`` where the next attempt began;
    ``seconds_lost`` is the time until it had reached ``at_step`` again. The trainer tells every twentieth step."""

    what: str
    at_step: int
    committed: int
    resumed_from: int
    seconds_lost: float

    def line(self) -> str:
        """What it cost, for people."""
        return (
            f"{self.what}: at step {self.at_step}, newest commit {self.committed}, resumed from {self.resumed_from}; "
            f"{max(0, self.at_step - self.resumed_from)} steps and {self.seconds_lost:.0f} s lost"
        )


def final(job: Job) -> Fields:
    """The last words of the job's trainers, which must agree. Raises `Problem` where they do not."""
    said = job.finals()
    expected = int(job.object()["spec"]["accelerator"]["cpu"]["workers"])
    if len(said) != expected or len({one["digest"] for one in said}) != 1:
        raise Problem(f"the {expected} workers of {job.name} do not agree on one result: {said}")
    return said[0]


def check(calm: Fields, disturbed: Fields, disasters: list[Disaster], status: Fields) -> None:
    """Hold the promises against what was seen.

    Raises:
        Problem: naming the first promise that was broken.
    """
    if calm["digest"] != disturbed["digest"]:
        raise Problem(f"the parameters differ from the calm run's: {disturbed['digest']} and {calm['digest']}")
    if calm["loss"] != disturbed["loss"]:
        raise Problem(f"the final loss differs from the calm run's: {disturbed['loss']} and {calm['loss']}")
    for one in disasters:
        if one.resumed_from < one.committed:
            raise Problem(f"a commit was lost: {one.line()}")
    committed = int(status["checkpoint"]["latest"]["step"])
    if committed != disturbed["step"]:
        raise Problem(f"the final step {disturbed['step']} is not committed; the newest commit is {committed}")


def lines(job: Job, calm: Fields, disturbed: Fields, disasters: list[Disaster]) -> Iterator[str]:
    """Yield the proof, line by line."""
    yield "What happened:"
    for one in disasters:
        yield f"  {one.line()}"
    for row in job.status().get("attempts", []):
        yield f"  attempt {row['attempt']}: {row.get('cause', 'runs')} - {row.get('message', 'all trainers exited 0')}"
    yield "The result, beside that of the same job undisturbed:"
    for key in ("step", "loss", "accuracy", "digest"):
        same = "equal" if disturbed[key] == calm[key] else f"NOT EQUAL: {calm[key]}"
        yield f"  {key:<9} {disturbed[key]}  ({same})"
    newest = job.newest_commit()
    if newest is not None:
        manifest = job.lab.bucket.document(newest.name)
        size = sum(part["bytes"] for part in manifest["parts"])
        slots = ", ".join(part["slot"] for part in manifest["parts"])
        yield (
            f"  run {manifest['run']}, attempt {manifest['attempt']}, step {manifest['step']}, parts of {slots},"
            f" {size} bytes, committed at {manifest['committedAt']}"
        )
