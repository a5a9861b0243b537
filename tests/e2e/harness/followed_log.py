"""A trainer's log, followed to its end: what it printed last is still known when its pod is gone."""

from __future__ import annotations

import contextlib
import json
import threading
from typing import Any

from urllib3.exceptions import HTTPError

from deploy.demo.lab import Lab

_LONGEST_S = 240


class FollowedLog:
    """Follows one container's log in a thread of its own."""

    def __init__(self, lab: Lab, pod: Any, container: str = "trainer") -> None:
        self._lines: list[dict[str, Any]] = []
        self._lab, self._pod, self._container = lab, pod, container
        self._thread = threading.Thread(target=self._follow, name=f"log-{pod.metadata.name}", daemon=True)
        self._thread.start()

    def told(self, event: str, within_s: float = 20) -> list[dict[str, Any]]:
        """All lines of one event; call it when the container has ended."""
        self._thread.join(within_s)
        assert not self._thread.is_alive(), f"the log of {self._pod.metadata.name} has no end"
        return [line for line in self._lines if line.get("event") == event]

    def _follow(self) -> None:
        answer = self._lab.core.read_namespaced_pod_log(
            self._pod.metadata.name, self._pod.metadata.namespace, container=self._container, follow=True,
            _preload_content=False, _request_timeout=_LONGEST_S,
        )  # fmt: skip
        rest = b""
        with contextlib.suppress(HTTPError, OSError):
            for piece in answer.stream(4096):
                *lines, rest = (rest + piece).split(b"\n")
                for line in lines:
                    with contextlib.suppress(ValueError):
                        self._lines.append(json.loads(line))
