"""The operator as a process of its own against the fleet's API server, as an administrator."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
import urllib.error
import urllib.request
from pathlib import Path

from deploy.fleet.instance import Instance
from deploy.kind.process import Failed, wait_for

NAMESPACE = "holdfast-system"
_ROOT = Path(__file__).resolve().parents[2]
_UP_S = 60


class OperatorProcess:
    """One replica with the report endpoint off: simulated pods report nothing."""

    def __init__(self, own: Instance, http_port: int) -> None:
        self._own = own
        self._port = http_port
        self._process: subprocess.Popen[bytes] | None = None
        self.log = own.logs / "operator.log"

    def start(self) -> None:
        """Start it and wait until its caches are filled."""
        environment = {
            **{name: value for name, value in os.environ.items() if not name.lower().endswith("_proxy")},
            "KUBECONFIG": str(self._own.kubeconfig),
            "HOLDFAST_NAMESPACE": NAMESPACE,
            "HOLDFAST_POD_NAME": "fleet-operator",
            "HOLDFAST_POD_IP": "127.0.0.1",
            "HOLDFAST_SIDECAR_IMAGE": "holdfast:fleet",
            "HOLDFAST_HTTP_PORT": str(self._port),
            "PYTHONPATH": str(_ROOT / "operator"),
        }
        with self.log.open("ab") as log:
            self._process = subprocess.Popen(
                [sys.executable, "-m", "holdfast.app.main"], env=environment, stdin=subprocess.DEVNULL, stdout=log,
                stderr=log,
            )  # fmt: skip
        wait_for("the operator is ready", self._ready, timeout_s=_UP_S)

    def kill(self) -> None:
        """End it with SIGKILL, as a lost machine would."""
        if self._process is not None:
            self._process.send_signal(signal.SIGKILL)
            self._process.wait()
            self._process = None

    def log_tail(self) -> str:
        """Return the end of its log."""
        return self.log.read_text(errors="replace")[-4000:] if self.log.exists() else ""

    def _ready(self) -> bool:
        if self._process is not None and self._process.poll() is not None:
            raise AssertionError(f"the operator ended with {self._process.returncode}:\n{self.log_tail()}")
        try:
            with urllib.request.urlopen(f"http://127.0.0.1:{self._port}/readyz", timeout=2) as reply:
                return bool(reply.status == 200)
        except (urllib.error.URLError, OSError) as error:
            raise Failed(str(error)) from error
