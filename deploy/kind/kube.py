"""kubectl against one cluster, and the nodes as the API server and the engine see them."""

import json
import shutil
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from deploy.kind.kindconfig import node_names
from deploy.kind.process import run, succeeds
from deploy.kind.provider import Provider
from deploy.kind.state import State


@dataclass(frozen=True)
class Kube:
    """One cluster seen from outside."""

    state: State
    provider: Provider

    def environment(self) -> dict[str, str]:
        """Environment with the cluster's kubeconfig and all programs on PATH."""
        return {**self.provider.environment(), "KUBECONFIG": str(self.state.kubeconfig)}

    def kubectl(self, *words: str, stdin: str | None = None, timeout_s: float = 60) -> str:
        """Run kubectl and return what it prints."""
        argv = ["kubectl", f"--request-timeout={int(timeout_s)}s", *words]
        return run(argv, timeout_s=timeout_s + 5, env=self.environment(), stdin=stdin)

    def get(self, *words: str) -> dict[str, Any]:
        """``kubectl get ... -o json``, decoded."""
        decoded: dict[str, Any] = json.loads(self.kubectl("get", *words, "-o", "json", timeout_s=20))
        return decoded

    def apply(self, manifest: str) -> None:
        """``kubectl apply`` a manifest."""
        self.kubectl("apply", "--server-side", "--force-conflicts", "-f", "-", stdin=manifest)

    def docker(self, *words: str | Path, timeout_s: float = 60) -> str:
        """Run the docker CLI against the engine that has the nodes."""
        return run(["docker", *words], timeout_s=timeout_s, env=self.provider.environment())

    def kind(self, *words: str | Path, timeout_s: float) -> str:
        """Run the kind CLI in the engine's network."""
        # A kind that outlived us would go on making nodes under the hands of the next run.
        leash = ["setpriv", "--pdeathsig", "KILL"] if shutil.which("setpriv") else []
        argv: Sequence[str | Path] = [*leash, *self.provider.enter(), "kind", *words, "--name", self.state.name]
        return run(argv, timeout_s=timeout_s, env=self.environment())

    def nodes(self) -> list[str]:
        """Names of the nodes that the cluster was made with, control plane first."""
        return node_names(self.state.name, self.state.workers())

    def running(self) -> list[str]:
        """Names of the nodes whose containers run."""
        wanted = set(self.nodes())
        listing = self.docker("ps", "--format", "{{.Names}}", timeout_s=20).split()
        return sorted(wanted & set(listing))

    def address(self, node: str) -> str:
        """The node's IPv4 address on the engine's bridge."""
        form = "{{range .NetworkSettings.Networks}}{{.IPAddress}}{{end}}"
        return self.docker("inspect", "--format", form, node).strip()

    def answers(self) -> bool:
        """Whether the API server says that it is ready."""
        return succeeds(
            ["kubectl", "--request-timeout=5s", "get", "--raw", "/readyz"], timeout_s=10, env=self.environment()
        )


def is_ready(node: dict[str, Any]) -> bool:
    """Whether a Node's Ready condition is true."""
    conditions = node.get("status", {}).get("conditions", [])
    return any(one["type"] == "Ready" and one["status"] == "True" for one in conditions)


def ready_heartbeat(node: dict[str, Any]) -> str:
    """Time of the Ready condition's last heartbeat (RFC 3339), or nothing."""
    for one in node.get("status", {}).get("conditions", []):
        if one["type"] == "Ready":
            return str(one.get("lastHeartbeatTime") or "")
    return ""
