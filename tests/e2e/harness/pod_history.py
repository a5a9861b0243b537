"""Every pod that Holdfast makes while the tests run, seen as the API server tells it: nothing in between is missed.

The events of one watch come in the order in which they happened, so at every creation it is known which pods were
there. That is what the promise of at most one pod a slot and attempt is judged by.
"""

from __future__ import annotations

import threading
from collections import defaultdict
from dataclasses import dataclass, field
from typing import Any

from kubernetes.client import ApiException
from kubernetes.watch import Watch
from urllib3.exceptions import HTTPError

from deploy.demo.lab import Lab

_SELECTOR = "app.kubernetes.io/managed-by=holdfast,holdfast.dev/job-uid"
_PREFIX = "holdfast.dev/"
_WINDOW_S = 30


@dataclass(frozen=True, order=True)
class Place:
    """A worker's place in one attempt of a job."""

    job_uid: str
    slot: str
    attempt: int


@dataclass
class _Namespace:
    """What was seen in one namespace."""

    uids: dict[Place, set[str]] = field(default_factory=lambda: defaultdict(set))
    alive: dict[str, Place] = field(default_factory=dict)
    overlaps: list[str] = field(default_factory=list)


class PodHistory:
    """Watches the pods of all jobs until it is stopped. ``problems`` tells what broke the promise."""

    def __init__(self, lab: Lab) -> None:
        self._core = lab.core
        self._seen: dict[str, _Namespace] = defaultdict(_Namespace)
        self._lock = threading.Lock()
        self._stopping = threading.Event()
        self.gaps = 0
        self._thread = threading.Thread(target=self._run, name="pod-history", daemon=True)
        self._thread.start()

    def stop(self) -> None:
        """End the watch; at most one window goes by."""
        self._stopping.set()
        self._thread.join(_WINDOW_S + 15)

    def problems(self, namespace: str) -> list[str]:
        """Each breach of the promise that was seen in a namespace."""
        with self._lock:
            seen = self._seen[namespace]
            doubles = [f"{place} had {len(uids)} pods" for place, uids in sorted(seen.uids.items()) if len(uids) > 1]
            return doubles + list(seen.overlaps)

    def attempts(self, namespace: str) -> set[int]:
        """The attempts of which there were pods in a namespace."""
        with self._lock:
            return {place.attempt for place in self._seen[namespace].uids}

    def _run(self) -> None:
        version = ""
        while not self._stopping.is_set():
            try:
                version = self._list() if not version else self._watch(version)
            except ApiException as error:
                if error.status == 410:
                    # Pods that came and went in between are not known.
                    self.gaps += 1
                    version = ""
                self._stopping.wait(0.5)
            except (OSError, HTTPError):
                self._stopping.wait(0.5)

    def _list(self) -> str:
        listing = self._core.list_pod_for_all_namespaces(label_selector=_SELECTOR, _request_timeout=15)
        with self._lock:
            for seen in self._seen.values():
                seen.alive.clear()
        for pod in listing.items:
            self._take("ADDED", pod, judge=False)
        return str(listing.metadata.resource_version)

    def _watch(self, version: str) -> str:
        stream = Watch().stream(
            self._core.list_pod_for_all_namespaces,
            label_selector=_SELECTOR,
            resource_version=version,
            timeout_seconds=_WINDOW_S,
            allow_watch_bookmarks=True,
            _request_timeout=_WINDOW_S + 10,
        )
        for event in stream:
            kind = event["type"]
            if kind == "BOOKMARK":
                version = str(event["raw_object"]["metadata"]["resourceVersion"])
                continue
            pod = event["object"]
            version = str(pod.metadata.resource_version)
            self._take(kind, pod, judge=True)
            if self._stopping.is_set():
                break
        return version

    def _take(self, kind: str, pod: Any, *, judge: bool) -> None:
        labels, uid = pod.metadata.labels, str(pod.metadata.uid)
        slot = f"{labels[_PREFIX + 'slice']}-{labels[_PREFIX + 'host']}"
        place = Place(labels[_PREFIX + "job-uid"], slot, int(labels[_PREFIX + "attempt"]))
        with self._lock:
            seen = self._seen[str(pod.metadata.namespace)]
            seen.uids[place].add(uid)
            if kind == "DELETED":
                seen.alive.pop(uid, None)
            elif uid not in seen.alive:
                if judge:
                    seen.overlaps += _overlaps(place, seen.alive.values())
                seen.alive[uid] = place


def _overlaps(new: Place, alive: Any) -> list[str]:
    return [
        f"{new} was created while {old} was there"
        for old in alive
        if old.job_uid == new.job_uid and old.attempt != new.attempt
    ]
