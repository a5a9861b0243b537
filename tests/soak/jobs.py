"""The jobs of the soak: each is replaced when it has ended or was deleted, and judged by the promises."""

from __future__ import annotations

import random
import threading
import time
from collections import Counter
from dataclasses import dataclass, field
from functools import partial
from typing import Any

from kubernetes.client import ApiException
from urllib3.exceptions import HTTPError

from deploy.demo.lab import REPLY_S, Lab
from deploy.kind.console import say
from tests.e2e.harness import diagnosis, manifests, promises
from tests.e2e.harness.plain_trainer import state_after
from tests.e2e.harness.pod_history import PodHistory
from tests.e2e.harness.runs import Run, Runs
from tests.e2e.harness.waiting import until
from tests.soak import account, times
from tests.soak.commits import CommitWatch
from tests.soak.recoveries import Ask

Fields = dict[str, Any]

# Jobs that end by themselves, and jobs that go on until they are deleted: those are the long lives of sidecars.
_SHORT_STEPS, _ENDLESS_STEPS = (60, 240), 100_000
_STEP_S = 0.3
_SIZE = 20_000
# A short job takes 18 s to 72 s undisturbed. Every fault may cost it a minute.
_LONGEST_S = 900.0
_GONE_S = 240.0
_TROUBLE = (ApiException, HTTPError, OSError, LookupError)


@dataclass
class Slot:
    """A place for one job at a time."""

    number: int
    endless: bool
    run: Run | None = None
    steps: int = 0
    since: float = 0.0
    jobs: int = 0
    deleting: bool = False
    # Begin anew as soon as the object is gone, though its pods may still be there.
    again_at_once: bool = False
    # The newest commit that was seen of it: run and step.
    seen: tuple[int, int] = (0, 0)
    # The last look at it failed, as it does while the bucket or the API server is away.
    unheard: bool = False


@dataclass
class Book:
    """What happened to jobs."""

    counts: Counter[str] = field(default_factory=Counter)
    causes: Counter[str] = field(default_factory=Counter)
    breaches: list[str] = field(default_factory=list)


class Fleet:
    """Keeps every slot filled. `bucket` is held by whoever needs the bucket to be there, or takes it away."""

    def __init__(
        self, lab: Lab, namespace: str, history: PodHistory, chance: random.Random, bucket: threading.Lock
    ) -> None:
        self._lab = lab
        self._runs = Runs(lab, namespace, history)
        self._history = history
        self._chance = chance
        self._bucket = bucket
        self.namespace = namespace
        self.book = Book()
        self.commits = CommitWatch(lab.bucket, _SIZE)
        self.slots = [Slot(0, endless=True), Slot(1, endless=True), Slot(2, endless=False), Slot(3, endless=False)]

    def tend(self) -> None:
        """Look at every slot once: start what is missing, judge what has ended."""
        for slot in self.slots:
            try:
                self._tend(slot)
            except AssertionError as error:
                self._breach(slot, str(error))
            except _TROUBLE as error:
                if not slot.unheard:
                    say(f"slot {slot.number}: asked again later: {str(error)[:120]}")
                slot.unheard = True
            else:
                slot.unheard = False

    def running(self, *, endless_only: bool = False) -> list[Run]:
        """The jobs whose trainers run, for the faults to choose from."""
        found = []
        for slot in self.slots:
            if endless_only and not slot.endless:
                continue
            try:
                if slot.run is not None and not slot.deleting and slot.run.job.status().get("phase") == "Running":
                    found.append(slot.run)
            except _TROUBLE:
                continue
        return found

    def delete(self, run: Run, *, again_at_once: bool = False) -> None:
        """Delete a job; its slot is filled again once it is gone, with its pods or at once."""
        run.job.delete()
        for slot in self.slots:
            if slot.run is run:
                slot.deleting, slot.again_at_once = True, again_at_once
        self.book.counts["deleted"] += 1

    def goes_on(self, run: Run, *, by_new_run: bool, applied_again: bool = False) -> Ask:
        """Whether the job has committed anew since now: by any run, or by a run that began after the newest one."""
        slot = next((one for one in self.slots if one.run is run), None)
        before = slot.seen if slot is not None else (0, 0)

        def ask() -> bool | None:
            if slot is None or (slot.run is not run and not applied_again):
                return None
            if (slot.seen[0] > before[0]) if by_new_run else (slot.seen > before):
                return True
            return None if slot.deleting and not applied_again else False

        return ask

    def settle(self, within_s: float) -> None:
        """After the last fault every job must go on: it commits anew, or ends well. Then all are deleted and judged."""
        begun = [(slot, self._committed(slot.run)) for slot in self.slots if slot.run is not None and not slot.deleting]
        for slot, before in begun:
            run = slot.run
            if run is None:
                continue
            try:
                until(
                    f"{run.job.name} goes on",
                    partial(self._goes_on, run, before),
                    within_s=within_s,
                    explain=run.explain,
                )
            except AssertionError as error:
                self._breach(slot, str(error))
        for slot in self.slots:
            if slot.run is not None:
                slot.deleting, slot.again_at_once = True, False
                slot.run.job.delete()
        for slot in self.slots:
            if slot.run is not None:
                try:
                    self._gone(slot, wait_s=_GONE_S)
                except AssertionError as error:
                    self._breach(slot, str(error))

    def _goes_on(self, run: Run, before: int) -> bool:
        status = run.job.status()
        return status.get("phase") == "Succeeded" or (self._committed(run) > before)

    @staticmethod
    def _committed(run: Run | None) -> int:
        return run.job.committed() if run is not None else 0

    def _tend(self, slot: Slot) -> None:
        run = slot.run
        if run is None:
            self._start(slot)
        elif slot.deleting or not run.job.exists():
            self._gone(slot)
        else:
            status = run.job.status()
            newest = self.commits.look(f"{self.namespace}/{run.job.name}", status)
            slot.seen = (newest.run, newest.step) if newest is not None else (0, 0)
            times.check(run.job.name, status)
            account.check(run.job.name, status)
            phase = status.get("phase")
            if phase == "Succeeded":
                self._succeeded(slot, run, status)
            elif phase in ("Failed", "Refused"):
                raise AssertionError(f"{run.job.name} is {phase}: {status.get('message')}\n{run.explain()}")
            elif not slot.endless and time.monotonic() - slot.since > _LONGEST_S:
                raise AssertionError(f"{run.job.name} has not ended in {_LONGEST_S:.0f} s\n{run.explain()}")

    def _start(self, slot: Slot) -> None:
        slot.jobs += 1
        slot.steps = _ENDLESS_STEPS if slot.endless else self._chance.randint(*_SHORT_STEPS)
        # An endless job goes on where the last one of its name has stopped; short ones begin anew.
        name = f"endless-{slot.number}" if slot.endless else f"short-{slot.number}-{slot.jobs}"
        workers = 2 if slot.number % 2 == 0 else 1
        change = {"recovery": {"nodeLostTimeout": "10s", "maxRestarts": 100, "backoff": {"initial": "1s", "max": "5s"}}}
        slot.run = self._runs.plain(
            name, change, workers=workers, STEPS=slot.steps, STEP_SECONDS=_STEP_S, CLIENT=1, SIZE=_SIZE
        )
        slot.since = time.monotonic()
        slot.deleting = slot.again_at_once = False
        if not slot.endless:
            slot.seen = (0, 0)
        self.book.counts["started"] += 1

    def _succeeded(self, slot: Slot, run: Run, status: Fields) -> None:
        with self._bucket:
            promises.check(run.job, self._history)
            promises.went_on_from_newest(run.job)
            newest = run.job.newest_commit()
        assert newest is not None, f"{run.job.name} has succeeded without a commit"
        assert newest.step == slot.steps, f"{run.job.name} has succeeded at step {newest.step}, not {slot.steps}"
        assert status["checkpoint"]["latest"]["step"] == slot.steps
        states = {str(line["state"]) for line in run.job.finals()}
        assert states <= {state_after(slot.steps)}, f"{run.job.name} has ended with a wrong state: {states}"
        self._note(status)
        self.book.counts["succeeded"] += 1
        slot.deleting = True
        run.job.delete()

    def _gone(self, slot: Slot, wait_s: float = 0.0) -> None:
        run = slot.run
        if run is None:
            return
        prefix = f"{self.namespace}/{run.job.name}"
        if wait_s:
            until(
                f"{run.job.name} is gone",
                lambda: not run.job.exists() and not run.job.pods(),
                within_s=wait_s,
                explain=run.explain,
            )
        elif run.job.exists() or (run.job.pods() and not slot.again_at_once):
            return
        if slot.again_at_once:
            # Judged with the job that takes its place: on the same prefix, while this one may still be written to.
            slot.run = None
            self.book.counts["applied again"] += 1
            return
        with self._bucket:
            promises.commits_are_right(self._lab.bucket, prefix)
            promises.went_on(self._lab.bucket, prefix)
            problems = self._history.problems(self.namespace)
        assert problems == [], problems
        slot.run = None
        self.book.counts["judged"] += 1

    def _note(self, status: Fields) -> None:
        for row in status.get("attempts") or ():
            self.book.causes[str(row.get("cause"))] += 1

    def _breach(self, slot: Slot, text: str) -> None:
        """Write a breach down, and begin the slot anew under another name."""
        say(f"BREACH in slot {slot.number}: {text}")
        self.book.breaches.append(text.splitlines()[0])
        if slot.run is not None:
            slot.run.job.delete()
        slot.run = None

    def describe(self) -> str:
        """What is to be seen of the namespace and the operator."""
        return f"{diagnosis.of_namespace(self._lab, self.namespace)}\n{diagnosis.of_operator(self._lab)}"


def make_namespace(lab: Lab, name: str) -> None:
    """Make a namespace at the Restricted level, with the plain trainer's script in it."""
    labels = {"pod-security.kubernetes.io/enforce": "restricted"}
    lab.core.create_namespace({"metadata": {"name": name, "labels": labels}}, _request_timeout=REPLY_S)
    script = {"metadata": {"name": manifests.SCRIPTS}, "data": manifests.scripts()}
    lab.core.create_namespaced_config_map(name, script, _request_timeout=REPLY_S)

    def ask() -> bool:
        accounts = lab.core.list_namespaced_service_account(name, _request_timeout=REPLY_S).items
        return "default" in [one.metadata.name for one in accounts]

    until(f"{name} has its service account", ask, within_s=30)
