"""What is looked at all the time, not only at the end: no commit goes back, and its bytes are the right ones."""

from __future__ import annotations

import json
from typing import Any

from deploy.demo.bucket import Bucket, Commit
from tests.e2e.harness import promises
from tests.e2e.harness.plain_trainer import advanced, payload

Fields = dict[str, Any]

# How the plain trainer ends when it is given a checkpoint that is not what was saved, or lies among newer ones.
_REFUSED = 1


class CommitWatch:
    """Remembers, for each destination, what was called committed, over all jobs that were applied on it."""

    def __init__(self, bucket: Bucket, size: int) -> None:
        self._bucket = bucket
        self._size = size
        self._called: dict[str, int] = {}
        self._looked_at: dict[str, Commit] = {}
        self._states = [""]
        self.looked = 0

    def look(self, prefix: str, status: Fields) -> Commit | None:
        """The newest commit below a prefix. `status` was read before; raises AssertionError where something is lost."""
        told = ((status.get("checkpoint") or {}).get("latest") or {}).get("step")
        called = self._called.get(prefix, 0)
        assert told is None or told >= called, f"{prefix}: step {told} is called newest, and {called} was before"
        self._called[prefix] = called = max(called, told or 0)
        newest = self._bucket.newest(prefix)
        step = newest.step if newest else 0
        assert step >= called, f"{prefix}: step {called} was called committed, and the newest of the bucket is {step}"
        if newest is not None and newest != self._looked_at.get(prefix):
            self._judge(prefix, newest)
            self._looked_at[prefix] = newest
        _none_refused(prefix, status)
        return newest

    def _judge(self, prefix: str, commit: Commit) -> None:
        try:
            objects = {str(item["name"]): item for item in self._bucket.objects(f"{prefix}/")}
            promises.whole(self._bucket, commit, objects)
            self._bytes_are_right(prefix, commit)
        except (AssertionError, LookupError) as error:
            # Newer commits may have come while it was read, and retention may have taken this one.
            if commit in self._bucket.commits(prefix):
                raise AssertionError(str(error)) from error
            return
        self.looked += 1

    def _bytes_are_right(self, prefix: str, commit: Commit) -> None:
        for part in self._bucket.parts(commit):
            read = {file["path"]: self._bucket.read(f"{prefix}/{file['object']}") for file in part["files"]}
            facts = json.loads(read["state.json"])
            where = f"{commit.name}, {part['slot']}"
            assert facts["step"] == commit.step, f"{where}: it holds step {facts['step']}"
            assert facts["state"] == self._state(commit.step), f"{where}: the state is not what that step leads to"
            assert read["payload.bin"] == payload(commit.step, self._size), f"{where}: the payload has other bytes"

    def _state(self, step: int) -> str:
        while len(self._states) <= step:
            self._states.append(advanced(self._states[-1], len(self._states)))
        return self._states[step]


def _none_refused(prefix: str, status: Fields) -> None:
    refused = [row["attempt"] for row in status.get("attempts") or () if row.get("exitCode") == _REFUSED]
    assert refused == [], f"{prefix}: a trainer of attempts {refused} refused what it was given"
