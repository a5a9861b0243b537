"""Starting much at once: many jobs of two pods, one job of a thousand, and that job after one of its workers failed."""

from __future__ import annotations

import itertools
import os
import random

import orjson

from holdfast.planning.plan import PODS, TRAINING_JOBS
from tests.bench import load, operators
from tests.bench.lab import Lab
from tests.bench.measured import Sample, Stretch
from tests.bench.watching import Follower

WITHIN_S = 300.0
_numbers = itertools.count()


async def bare(lab: Lab, pods: int) -> Sample:
    """Bare pods, created by a plain client: the floor that no operator gets under."""
    namespace = await _namespace(lab, "bare")
    async with Follower(lab.transport, PODS, namespace, "Running") as seen:
        stretch = Stretch(lab, None)
        await stretch.begin()
        await load.create_all(lab.transport, PODS, load.bare_pods(namespace, pods))
        done = await seen.until(pods, WITHIN_S)
        sample = Sample("bare pods", pods, pods, wall_s=done - stretch.began)
        await stretch.end(sample)
    await _clear(lab, namespace)
    return sample


async def many(lab: Lab, jobs: int, workers: int, framework: str) -> Sample:
    """Many jobs at once, with a fresh operator."""
    namespace = await _namespace(lab, framework.lower())
    operator = await _operator(lab)
    try:
        async with (
            Follower(lab.transport, PODS, namespace, "Running") as pods,
            Follower(lab.transport, TRAINING_JOBS, namespace, "Running") as told,
        ):
            stretch = Stretch(lab, operator)
            await stretch.begin()
            manifests = load.jobs(namespace, jobs, workers, framework)
            await load.create_all(lab.transport, TRAINING_JOBS, manifests)
            done = await pods.until(jobs * workers, WITHIN_S)
            last = await told.until(jobs, WITHIN_S)
            sample = Sample(f"{jobs} jobs x {workers}, {framework}", jobs, jobs * workers)
            sample.wall_s, sample.told_s = done - stretch.began, last - stretch.began
            await stretch.end(sample)
    finally:
        operator.stop()
        await _clear(lab, namespace)
    return sample


async def gang(lab: Lab, workers: int, framework: str) -> tuple[Sample, Sample]:
    """One job of many workers; then one of them fails, and all start again."""
    namespace = await _namespace(lab, "gang")
    operator = await _operator(lab)
    try:
        async with (
            Follower(lab.transport, PODS, namespace, "Running") as pods,
            Follower(lab.transport, TRAINING_JOBS, namespace, "Running") as told,
        ):
            stretch = Stretch(lab, operator)
            await stretch.begin()
            await load.create(lab.transport, TRAINING_JOBS, load.job(namespace, "gang", workers, framework))
            done = await pods.until(workers, WITHIN_S)
            last = await told.until(1, WITHIN_S)
            first = Sample(f"1 job x {workers}, {framework}", 1, workers)
            first.wall_s, first.told_s = done - stretch.began, last - stretch.began
            await stretch.end(first)
        await lab.settle()
        async with Follower(lab.transport, PODS, namespace, "Running") as pods:
            stretch = Stretch(lab, operator)
            await stretch.begin()
            await _fail_one(lab, namespace, pods)
            done = await pods.until(workers, WITHIN_S, among=lambda name: name.endswith("-2"))
            again = Sample(f"1 of {workers} fails, {framework}", 1, workers, wall_s=done - stretch.began)
            await stretch.end(again)
    finally:
        operator.stop()
        await _clear(lab, namespace)
    return first, again


async def _fail_one(lab: Lab, namespace: str, pods: Follower) -> None:
    """Let one trainer end with exit code 1, as its kubelet would tell it."""
    victim = random.Random(1).choice(sorted(pods.names.values()))
    state = {"terminated": {"exitCode": 1, "reason": "Error"}}
    trainer = {"name": "trainer", "image": "x", "imageID": "", "ready": False, "restartCount": 0, "state": state}
    status = {"phase": "Failed", "containerStatuses": [trainer]}
    await lab.transport.request(
        "PATCH",
        f"{PODS.item(namespace, victim)}/status",
        body=orjson.dumps({"status": status}),
        content_type="application/merge-patch+json",
    )


async def _namespace(lab: Lab, word: str) -> str:
    name = f"{word}-{os.getpid()}-{next(_numbers)}"
    await load.make_namespace(lab.transport, name)
    await lab.settle()
    return name


async def _operator(lab: Lab) -> operators.Replica:
    operator = operators.start(lab.kubeconfig, lab.folder, f"operator-{next(_numbers)}")
    await operator.ready(60)
    await operator.at_rest(60)
    await lab.settle()
    return operator


async def _clear(lab: Lab, namespace: str) -> None:
    await load.clear(lab.transport, namespace)
    await lab.settle()
