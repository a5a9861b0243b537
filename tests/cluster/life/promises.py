"""The promises about a job's pods and commits, checked at every change of the API server and of the bucket."""

from __future__ import annotations

import json
from collections.abc import Callable
from dataclasses import dataclass, field
from typing import Any

from holdfast.api import labels as names
from holdfast.api.wire import Report
from holdfast.app.series import LABELS
from holdfast.checkpoint import layout
from holdfast.checkpoint.manifests import Commit, Part, Plan, decode
from tests.support.apiserver import MemoryApiServer
from tests.support.apiserver_store import Change
from tests.support.bucket import Bucket, Stored

Document = dict[str, Any]
Key = tuple[int, int]

_CAUSES = set(LABELS["cause"] or ())


@dataclass(slots=True)
class WatchedBucket(Bucket):
    """A bucket that tells of every change after it took effect."""

    listeners: list[Callable[[str, str], None]] = field(default_factory=list)

    def write(self, name: str, data: bytes, if_generation: int | None) -> Stored:
        stored = Bucket.write(self, name, data, if_generation)
        self._tell("put", name)
        return stored

    def remove(self, name: str, generation: int | None = None) -> None:
        there = name in self.objects
        Bucket.remove(self, name, generation)
        if there and name not in self.objects:
            self._tell("delete", name)

    def _tell(self, verb: str, name: str) -> None:
        for listener in self.listeners:
            listener(verb, name)


class Promises:
    """Collects what was broken in `broken`.

    `rewinds` says that a restore order is being served. `stale_creates`: a second leader, or a create that arrives
    late, may make a pod of an attempt that is over, which is deleted at sight, or of a job that is gone, which the
    garbage collector takes; neither can commit.
    """

    def __init__(self, server: MemoryApiServer, bucket: WatchedBucket) -> None:
        self._server = server
        self._bucket = bucket
        self.broken: list[str] = []
        self.rewinds = False
        self.stale_creates = False
        self.stale: set[str] = set()
        self.orphans: set[Key] = set()
        self._created: set[Key] = set()
        self._runs = 0
        self._planned = 0
        self._claim: Key | None = None
        server.store.listeners.append(self._changed)
        bucket.listeners.append(self._written)

    def check(self) -> None:
        """Raise AssertionError where anything was broken so far."""
        assert not self.broken, "; ".join(self.broken)
        assert not self.stale, f"pods of attempts that are over are still there: {self.stale}"

    def heard(self, report: Report) -> None:
        """Take note of what a sidecar says is committed."""
        if report.run is not None and report.committed is not None:
            self._claims((report.run, report.committed), f"the sidecar of {report.pod_name}")

    def _changed(self, change: Change) -> None:
        if change.info.plural == "trainingjobs" and change.type != "DELETED":
            status = change.document.get("status") or {}
            causes = {row.get("cause") for row in status.get("attempts") or ()} - {None}
            if odd := causes - _CAUSES:
                self.broken.append(f"causes that no metric knows: {sorted(odd)}")
            latest = (status.get("checkpoint") or {}).get("latest")
            if latest:
                self._claims((latest["run"], latest["step"]), "status.checkpoint.latest")
        if change.info.plural == "pods" and change.type == "ADDED":
            self._pod_added(change.document)
        if change.info.plural == "pods" and change.type == "DELETED":
            self.stale.discard(change.document["metadata"]["uid"])

    def _pod_added(self, new: Document) -> None:
        """One pod object a slot and attempt, and no pods of two attempts of one name at once."""
        mine = _place(new)
        for other in self._server.all("pods"):
            theirs = _place(other)
            if other["metadata"]["uid"] == new["metadata"]["uid"] or theirs[:2] != mine[:2]:
                continue
            if theirs == mine:
                self.broken.append(f"two pods of one slot and attempt: {mine}")
            elif theirs[:4] != mine[:4]:
                over = theirs[2] == mine[2] and int(mine[3]) < int(theirs[3])
                if self.stale_creates and (over or self._owner_is_gone(new)):
                    self.stale.add(new["metadata"]["uid"])
                    continue
                self.broken.append(f"pods of two attempts at once: {theirs} and {mine}")

    def _owner_is_gone(self, pod: Document) -> bool:
        uid = pod["metadata"]["ownerReferences"][0]["uid"]
        return all(job["metadata"]["uid"] != uid for job in self._server.all("trainingjobs"))

    def _written(self, verb: str, name: str) -> None:
        if verb != "put":
            return
        if (run := layout.parse_run_folder(name.removesuffix("run.json"))) is not None:
            if run != self._runs + 1:
                self.broken.append(f"run {run} follows run {self._runs}")
            self._runs = run
        elif (commit := layout.parse_commit(name)) is not None:
            if commit in self._created:
                self.broken.append(f"committed a second time: {name}")
            self._created.add(commit)
            if commit[0] < self._planned:
                self.orphans.add(commit)
        elif (plan := layout.parse_plan(name)) is not None:
            self._plan(plan[0], decode(name, self._bucket.objects[name].data, Plan))

    def _plan(self, run: int, plan: Plan) -> None:
        """What a run starts from is no older than what anybody called committed before."""
        self._planned = max(self._planned, run)
        chosen = (plan.commit.run, plan.commit.step) if plan.commit is not None else None
        if chosen in self.orphans:
            self.broken.append(f"run {run} starts from the orphan {chosen}")
        if self.rewinds:
            self.rewinds, self._claim = False, chosen
        elif self._claim is not None and (chosen is None or chosen < self._claim):
            self.broken.append(f"run {run} starts from {chosen}, and {self._claim} was called committed")

    def _claims(self, key: Key, who: str) -> None:
        if key in self.orphans:
            self.broken.append(f"{who} calls the orphan {key} committed")
        elif key[0] >= self._planned and (self._claim is None or key > self._claim):
            self._claim = key

    def commits(self) -> dict[Key, Commit]:
        """Return every commit manifest by (run, step), as it is in the bucket now."""
        found = self._bucket.names(layout.RUNS, "/commit.json")
        keys = {key: name for name in found if (key := layout.parse_commit(name)) is not None}
        return {key: decode(name, self._bucket.objects[name].data, Commit) for key, name in keys.items()}

    def whole(self) -> None:
        """Raise AssertionError where a commit names what is not there as it was written."""
        for key, commit in self.commits().items():
            for entry in commit.parts:
                part = decode(entry.object, self._bucket.read(entry.object, entry.generation).data, Part)
                for file in part.files:
                    stored = self._bucket.read(file.object, file.generation)
                    assert (len(stored.data), stored.crc32c) == (file.size, file.crc32c), (key, file.object)
                    assert json.loads(stored.data or "null") in (None, {"step": key[1], "slot": entry.slot})


def _place(pod: Document) -> tuple[str, ...]:
    labels = pod["metadata"]["labels"]
    uid = pod["metadata"]["ownerReferences"][0]["uid"]
    slot = f"{labels[names.SLICE]}-{labels[names.HOST]}"
    return (pod["metadata"]["namespace"], labels[names.JOB_NAME], uid, labels[names.ATTEMPT], slot)
