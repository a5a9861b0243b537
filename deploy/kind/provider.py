"""Which Docker engine and node image to use: the machine's own with kindest/node, or the project's with its image."""

import os
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Literal

from deploy.kind import gotools, nodeimage
from deploy.kind.console import Problem, say
from deploy.kind.engine.daemon import Engine
from deploy.kind.paths import Cache
from deploy.kind.process import run, run_logged, succeeds

Name = Literal["docker", "offline"]

# The node image that this release of kind was made with (pkg/apis/config/defaults/image.go of kind v0.33.0).
KINDEST_NODE = "kindest/node:v1.37.0@sha256:a1ed56cfb0e7b93589bdf97c8cd566405a265939e3620fc4f5de89adff580ae5"


@dataclass(frozen=True)
class Provider:
    """An engine to run nodes on. ``enter`` is a command prefix for what must run in the engine's network."""

    name: Name
    cache: Cache
    api_address: str
    engine_slot: int

    def environment(self) -> dict[str, str]:
        """Environment with kind, kubectl, Helm and the right docker on PATH."""
        base = Engine(self.cache).environment() if self.name == "offline" else dict(os.environ)
        folders = [gotools.ensure(tool, self.cache) for tool in (gotools.KIND, gotools.KUBECTL, gotools.HELM)]
        path = ":".join([*map(str, folders), base.get("PATH", "")])
        return {**base, "PATH": path}

    def enter(self) -> list[str]:
        """Command prefix for kind itself, which looks for a free port where the API server will listen."""
        return Engine(self.cache).enter() if self.name == "offline" else []

    def network_pid(self) -> int | None:
        """Process in whose network namespace the nodes' bridge is; None if that is the machine's own."""
        return Engine(self.cache).pid() if self.name == "offline" else None

    def node_image(self) -> str:
        """The node image, made or pulled if need be."""
        if self.name == "offline":
            return nodeimage.ensure(self.cache, Engine(self.cache))
        env = dict(os.environ)
        image = registry_image()
        if not succeeds(["docker", "image", "inspect", image], timeout_s=30, env=env):
            say(f"pull {image.split('@')[0]}")
            run_logged(["docker", "pull", image], self.cache.logs / "pull.log", timeout_s=900, env=env)
        return image


def registry_image(environ: Mapping[str, str] = os.environ) -> str:
    """The node image to pull; ``HOLDFAST_NODE_IMAGE`` names another place for it, such as a mirror."""
    return environ.get("HOLDFAST_NODE_IMAGE") or KINDEST_NODE


def choose(cache: Cache, environ: Mapping[str, str] = os.environ) -> Name:
    """Decide for the machine's engine if it answers and has, or can get, kindest/node.

    ``HOLDFAST_PROVIDER`` (``docker`` or ``offline``) overrides the look-around.

    Raises:
        Problem: if the override is neither.
    """
    forced = environ.get("HOLDFAST_PROVIDER", "")
    if forced == "docker":
        return "docker"
    if forced == "offline" or Engine(cache).pid() is not None:
        return "offline"
    if forced:
        raise Problem(f"HOLDFAST_PROVIDER must be docker or offline, not {forced!r}")
    if not succeeds(["docker", "version", "--format", "{{.Server.Version}}"], timeout_s=5):
        return "offline"
    image = registry_image(environ)
    if succeeds(["docker", "image", "inspect", image], timeout_s=10):
        return "docker"
    return "docker" if succeeds(["docker", "manifest", "inspect", image], timeout_s=20) else "offline"


def provide(name: Name, cache: Cache, *, start: bool = True) -> Provider:
    """The provider of that name; its engine is started unless ``start`` is false."""
    if name == "docker":
        if start:
            run(["docker", "version"], timeout_s=15)
        return Provider("docker", cache, "127.0.0.1", 0)
    engine = Engine(cache)
    if start:
        engine.start()
    addresses = engine.addresses()
    return Provider("offline", cache, addresses.engine, addresses.slot)
