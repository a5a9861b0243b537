"""Go programs built from modules with pinned versions; go.sum holds the checksums that ``-mod=readonly`` enforces."""

import functools
import json
import os
import re
import shutil
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path

from deploy.kind.console import Problem, say, step
from deploy.kind.digests import building, forget_older, key_of, locked
from deploy.kind.paths import TOOLS, Cache
from deploy.kind.process import run, run_logged, succeeds

_BUILD_TIMEOUT_S = 3600.0
_VERSION = re.compile(r"^\s*(?:require\s+)?(\S+)\s+(v\S+)", re.MULTILINE)


@dataclass(frozen=True)
class Tool:
    """One small module below ``tools/`` and the programs built from it.

    ``programs`` maps the name that a program gets to its package; ``stamp`` is a linker variable prefix that
    gets the version of ``module``; ``pins`` names the folder with go.mod and go.sum if it is not the tool's own.
    """

    name: str
    module: str
    programs: Mapping[str, str]
    stamp: str = ""
    pins: str = ""
    flags: tuple[str, ...] = field(default=("-s", "-w"))

    @property
    def folder(self) -> Path:
        """Where its go.mod and go.sum are."""
        return TOOLS / (self.pins or self.name)

    def version(self) -> str:
        """The pinned version of its main module, from go.mod."""
        for module, version in _VERSION.findall((self.folder / "go.mod").read_text()):
            if module == self.module:
                return str(version)
        raise Problem(f"{self.folder / 'go.mod'} does not require {self.module}: add it with go get -tool")

    def linker_flags(self) -> str:
        """What ``-ldflags`` gets. Kubernetes' programs need their version: kubeadm derives image tags from it."""
        flags = list(self.flags)
        if self.stamp:
            version = self.version()
            major, minor = version.removeprefix("v").split(".")[:2]
            flags += [f"-X {self.stamp}.gitVersion={version}", f"-X {self.stamp}.gitMajor={major}"]
            flags += [f"-X {self.stamp}.gitMinor={minor}"]
        return " ".join(flags)


_KUBERNETES_PROGRAMS = (
    "kube-apiserver", "kube-controller-manager", "kube-scheduler", "kube-proxy", "kubeadm", "kubelet", "kubectl",
)  # fmt: skip
_CONTAINERD = "github.com/containerd/containerd/v2"

KUBERNETES = Tool(
    "kubernetes", "k8s.io/kubernetes",
    {name: f"k8s.io/kubernetes/cmd/{name}" for name in _KUBERNETES_PROGRAMS},
    stamp="k8s.io/component-base/version",
)  # fmt: skip
# By itself, since a machine with a Docker engine and a registry needs nothing else of Kubernetes.
KUBECTL = Tool(
    "kubectl", "k8s.io/kubernetes", {"kubectl": "k8s.io/kubernetes/cmd/kubectl"},
    stamp="k8s.io/component-base/version", pins="kubernetes",
)  # fmt: skip
ETCD = Tool("etcd", "go.etcd.io/etcd/server/v3", {"etcd": "go.etcd.io/etcd/server/v3"})
CONTAINERD = Tool(
    "containerd", _CONTAINERD,
    {name: f"{_CONTAINERD}/cmd/{name}" for name in ("containerd", "containerd-shim-runc-v2", "ctr")},
)  # fmt: skip
COREDNS = Tool("coredns", "github.com/coredns/coredns", {"coredns": "github.com/coredns/coredns"})
LOCAL_PATH = Tool(
    "local-path-provisioner", "github.com/rancher/local-path-provisioner",
    {"local-path-provisioner": "github.com/rancher/local-path-provisioner"},
)  # fmt: skip
KIND = Tool("kind", "sigs.k8s.io/kind", {"kind": "sigs.k8s.io/kind"})
BUCKET = Tool(
    "fake-gcs-server", "github.com/fsouza/fake-gcs-server",
    {"fake-gcs-server": "github.com/fsouza/fake-gcs-server"},
)  # fmt: skip
HELM = Tool("helm", "helm.sh/helm/v3", {"helm": "helm.sh/helm/v3/cmd/helm"})
KWOK = Tool("kwok", "sigs.k8s.io/kwok", {"kwok": "sigs.k8s.io/kwok/cmd/kwok"})

# In the order of need: the long builds that everything else waits for come first.
ALL = (KUBERNETES, KUBECTL, KIND, CONTAINERD, ETCD, COREDNS, LOCAL_PATH, BUCKET, HELM, KWOK)
# With kindest/node, the node image brings the cluster's own programs.
WITH_REGISTRY = (KIND, KUBECTL, LOCAL_PATH, BUCKET, HELM)


def needed(provider: str) -> tuple[Tool, ...]:
    """The programs that a provider (``docker`` or ``offline``) needs."""
    return ALL if provider == "offline" else WITH_REGISTRY


def output_name(package: str) -> str:
    """The name that ``go build`` gives a package's program: its last element that is not a major version."""
    parts = package.split("/")
    return parts[-2] if re.fullmatch(r"v\d+", parts[-1]) else parts[-1]


def tool_key(tool: Tool, go_version: str) -> str:
    """Key of a tool's programs: its module files, the compiler, and how it is called."""
    files = [(tool.folder / name).read_bytes() for name in ("go.mod", "go.sum")]
    return key_of([*files, go_version, tool.linker_flags(), json.dumps(dict(tool.programs), sort_keys=True)])


@functools.cache
def go_version() -> str:
    """Compiler version and target, such as ``go1.26.8 linux amd64``.

    Raises:
        Problem: if there is no Go.
    """
    if not succeeds(["go", "version"], timeout_s=30):
        raise Problem(
            "Go is not on PATH: the cluster's programs (kind, kubectl, Helm and, where no image registry is reachable, "
            "Kubernetes itself) are built from Go modules. Install Go 1.26 or later."
        )
    wanted = run(["go", "env", "GOVERSION", "GOOS", "GOARCH"], timeout_s=30, cwd=TOOLS)
    return " ".join(wanted.split())


def folder_of(tool: Tool, cache: Cache) -> Path:
    """Where the tool's programs are, or will be once it is built."""
    return cache.tools / f"{tool.name}-{tool_key(tool, go_version())}"


def ensure(tool: Tool, cache: Cache) -> Path:
    """Build the tool's programs unless the cache has them; returns their folder.

    Raises:
        Problem: if there is no Go, no module proxy, or the build fails; names the log.
    """
    target = folder_of(tool, cache)
    if target.is_dir():
        return target
    with locked(cache.tools / f".{tool.name}.lock"):
        if target.is_dir():
            return target
        with step(f"build {', '.join(tool.programs)} {tool.version()}"), building(target) as scratch:
            _build(tool, scratch, cache.logs / f"go-{tool.name}.log")
        forget_older(target)
    return target


def ensure_all(cache: Cache, tools: tuple[Tool, ...] = ALL) -> dict[str, Path]:
    """Build several tools, one after the other: Go itself uses every core. Returns the folder of each by name."""
    missing = [tool.name for tool in tools if not folder_of(tool, cache).is_dir()]
    if missing:
        say(f"Go programs to build once: {', '.join(missing)} (about 12 minutes for all on two cores)")
    return {tool.name: ensure(tool, cache) for tool in tools}


def _build(tool: Tool, scratch: Path, log: Path) -> None:
    env = {**os.environ, "CGO_ENABLED": "0", "GOFLAGS": "", "GOWORK": "off"}
    run_logged(
        ["go", "build", "-mod=readonly", "-trimpath", "-ldflags", tool.linker_flags(), "-o", f"{scratch}/",
         *tool.programs.values()],
        log, timeout_s=_BUILD_TIMEOUT_S, env=env, cwd=tool.folder,
    )  # fmt: skip
    for name, package in tool.programs.items():
        built = scratch / output_name(package)
        if built.name != name:
            shutil.move(built, scratch / name)
