"""One TrainingJob on a cluster: its object, its pods, and what its trainers printed."""

from __future__ import annotations

import json
from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any

from kubernetes.client import ApiException

from deploy.demo.bucket import Commit
from deploy.demo.lab import REPLY_S, Lab

Fields = dict[str, Any]

_GROUP, _VERSION, _PLURAL = "holdfast.dev", "v1alpha1", "trainingjobs"
_JOB_NAME = "holdfast.dev/job-name"
_ATTEMPT = "holdfast.dev/attempt"
_TRAINER = "trainer"


@dataclass(frozen=True)
class Job:
    """A job by its name; every method asks the API server anew."""

    lab: Lab
    namespace: str
    name: str

    @classmethod
    def create(cls, lab: Lab, namespace: str, manifest: Fields) -> Job:
        """Create the object and return its handle."""
        lab.custom.create_namespaced_custom_object(
            _GROUP, _VERSION, namespace, _PLURAL, manifest, field_validation="Strict", _request_timeout=REPLY_S
        )
        return cls(lab, namespace, str(manifest["metadata"]["name"]))

    def object(self) -> Fields:
        """The object. Raises `LookupError` where there is none."""
        try:
            found: Fields = self.lab.custom.get_namespaced_custom_object(
                _GROUP, _VERSION, self.namespace, _PLURAL, self.name, _request_timeout=REPLY_S
            )
        except ApiException as error:
            if error.status == 404:
                raise LookupError(f"TrainingJob {self.namespace}/{self.name} is not there") from error
            raise
        return found

    def exists(self) -> bool:
        """Whether the object is there."""
        try:
            self.object()
        except LookupError:
            return False
        return True

    def status(self) -> Fields:
        """The status; empty before the operator has written one."""
        found: Fields = self.object().get("status") or {}
        return found

    def condition(self, kind: str) -> Fields:
        """A condition by type; empty where it was never said."""
        conditions: list[Fields] = self.status().get("conditions") or []
        return next((one for one in conditions if one["type"] == kind), {})

    def patch_spec(self, change: Fields) -> None:
        """Apply a merge patch to the spec."""
        self.lab.custom.patch_namespaced_custom_object(
            _GROUP, _VERSION, self.namespace, _PLURAL, self.name, {"spec": change}, _request_timeout=REPLY_S
        )

    def delete(self) -> None:
        """Delete the object; the garbage collector takes what belongs to it. Safe to repeat."""
        try:
            self.lab.custom.delete_namespaced_custom_object(
                _GROUP, _VERSION, self.namespace, _PLURAL, self.name, _request_timeout=REPLY_S
            )
        except ApiException as error:
            if error.status != 404:
                raise

    def pods(self, attempt: int | None = None) -> list[Any]:
        """The job's pods in the order of their names; of one attempt where it is given."""
        selector = f"{_JOB_NAME}={self.name}" + (f",{_ATTEMPT}={attempt}" if attempt is not None else "")
        listing = self.lab.core.list_namespaced_pod(self.namespace, label_selector=selector, _request_timeout=REPLY_S)
        return sorted(listing.items, key=lambda pod: str(pod.metadata.name))

    def current_pods(self) -> list[Any]:
        """The pods of the attempt that status names."""
        return self.pods(int(self.status().get("attempt") or 0))

    def log(self, pod: Any, container: str = _TRAINER) -> str:
        """What a container has printed; empty where it has not begun."""
        try:
            # Undecoded, because the client would take a log that is one JSON document apart.
            answer = self.lab.core.read_namespaced_pod_log(
                pod.metadata.name, self.namespace, container=container, _preload_content=False, _request_timeout=REPLY_S
            )
        except ApiException as error:
            if error.status in (400, 404):
                return ""
            raise
        return bytes(answer.data).decode(errors="replace")

    def said(self, pod: Any, event: str) -> list[Fields]:
        """The JSON lines of a trainer's log that tell of one event, oldest first."""
        return [line for line in _json_lines(self.log(pod)) if line.get("event") == event]

    def finals(self) -> list[Fields]:
        """The trainers' last lines in the current attempt, one a worker that has printed it."""
        return [line for pod in self.current_pods() for line in self.said(pod, "final")]

    def prefix(self) -> str:
        """The destination inside its bucket."""
        destination = str(self.object()["spec"]["checkpoint"]["destination"])
        return destination.removeprefix("gs://").partition("/")[2].rstrip("/")

    def newest_commit(self) -> Commit | None:
        """The newest commit in the bucket."""
        return self.lab.bucket.newest(self.prefix())

    def committed(self) -> int:
        """The newest committed step, 0 where there is none."""
        newest = self.newest_commit()
        return newest.step if newest else 0


def _json_lines(text: str) -> Iterator[Fields]:
    for line in text.splitlines():
        if line.startswith("{"):
            try:
                decoded = json.loads(line)
            except ValueError:
                continue
            if isinstance(decoded, dict):
                yield decoded
