"""Containers of the project's images on the engine that the cluster runs on: no network, a read-only root."""

from __future__ import annotations

import json
import subprocess
from dataclasses import dataclass
from typing import Any

from deploy.images import build
from deploy.kind import provider
from deploy.kind.paths import cache

TIMEOUT_S = 300


@dataclass(frozen=True)
class Done:
    """A container that has ended: exit code, and all that it wrote."""

    code: int
    output: str

    def events(self, kind: str) -> list[dict[str, Any]]:
        """The JSON lines of one kind."""
        lines = [json.loads(line) for line in self.output.splitlines() if line.startswith("{")]
        return [line for line in lines if line.get("event") == kind]


class Engine:
    """Runs containers of the built images."""

    def __init__(self) -> None:
        built = build.build(cache())
        self.images = {name: image.reference for name, image in built.items()}
        chosen = provider.provide(provider.choose(cache()), cache())
        self._environment = chosen.environment()
        for image in built.values():
            self._have(image)

    def run(self, image: str, *command: str, options: tuple[str, ...] = (), user: str = "65532:65532") -> Done:
        """Run a command in an image, as restricted as a pod of ours. Its host name resolves, as it does in a pod."""
        words = ["docker", "run", "--rm", "--network", "none", "--hostname", "localhost", "--read-only",
                 "--cap-drop", "ALL", "--security-opt", "no-new-privileges", "--user", user, *options]  # fmt: skip
        return self._docker([*words, self.images[image], *command])

    def _have(self, image: build.Built) -> None:
        if self._docker(["docker", "image", "inspect", image.reference]).code:
            loaded = self._docker(["docker", "load", "--input", str(image.archive)])
            assert loaded.code == 0, loaded.output

    def _docker(self, words: list[str]) -> Done:
        done = subprocess.run(
            words, env=self._environment, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True,
            timeout=TIMEOUT_S, check=False,
        )  # fmt: skip
        return Done(done.returncode, done.stdout)
