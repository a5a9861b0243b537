"""Every pod that Holdfast makes while the tests run, seen as the API server tells it: nothing in between is missed."""

from __future__ import annotations

import threading
from collections import defaultdict
from typing import Any

from kubernetes.client import ApiException
from kubernetes.watch import Watch
from urllib3.exceptions import HTTPError

from deploy.demo.lab import Lab
from tests.e2e.harness.pod_ledger import LABELS, PodLedger, place_of

_SELECTOR = f"app.kubernetes.io/managed-by=holdfast,{LABELS}job-uid"
_WINDOW_S = 30


class PodHistory:
    """Watches the pods of all jobs until it is stopped. ``gaps`` counts the times when the watch had to begin anew."""

    def __init__(self, lab: Lab) -> None:
        self._core = lab.core
        self._ledgers: dict[str, PodLedger] = defaultdict(PodLedger)
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
            return self._ledgers[namespace].problems()

    def slots(self, namespace: str, job_uid: str, attempt: int) -> set[str]:
        """The workers of a job's attempt whose pods were seen."""
        with self._lock:
            return self._ledgers[namespace].slots(job_uid, attempt)

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
            for ledger in self._ledgers.values():
                ledger.alive.clear()
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

    def _take(self, kind: Any, pod: Any, *, judge: bool) -> None:
        with self._lock:
            ledger = self._ledgers[str(pod.metadata.namespace)]
            ledger.take(kind, str(pod.metadata.uid), place_of(pod), judge=judge)
