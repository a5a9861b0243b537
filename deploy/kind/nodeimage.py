"""The node image for machines that reach no image registry, built by the project's own engine."""

import os
import shutil
from pathlib import Path

from deploy.kind import debian, gotools, systemimages
from deploy.kind.console import step
from deploy.kind.digests import key_of, locked, tree_parts
from deploy.kind.engine.daemon import Engine
from deploy.kind.paths import NODE, Cache
from deploy.kind.process import run, succeeds
from deploy.kind.systemimages import Archive

_REPOSITORY = "localhost/holdfast-node"
_CONTAINERD = ("containerd", "containerd-shim-runc-v2", "ctr")


def ensure(cache: Cache, engine: Engine) -> str:
    """Build the image unless the engine has it; returns its name. The engine must run."""
    rootfs = debian.root_file_system("node", debian.NODE_PACKAGES, cache)
    kubernetes = gotools.ensure(gotools.KUBERNETES, cache)
    containerd = gotools.ensure(gotools.CONTAINERD, cache)
    archives = {
        "images/every-node/base.tar": systemimages.every_node(cache),
        "images/control-plane/kubernetes.tar": systemimages.control_plane(cache),
        "images/control-plane/addons.tar": systemimages.addons(cache),
    }
    parts = [rootfs.parent.name, kubernetes.name, containerd.name, *(archive.key for archive in archives.values())]
    key = key_of([*tree_parts(NODE), *parts])
    name = f"{_REPOSITORY}:{gotools.KUBERNETES.version()}-{key}"
    env = engine.environment()
    with locked(cache.images / ".node.lock"):
        if succeeds(["docker", "image", "inspect", name], timeout_s=30, env=env):
            return name
        context = cache.images / ".node-context"
        with step("build the node image"):
            shutil.rmtree(context, ignore_errors=True)
            shutil.copytree(NODE, context)
            _fill(context, rootfs, kubernetes, containerd, archives)
            run(["docker", "build", "--quiet", "--network", "none", "--tag", name, context], timeout_s=600, env=env)
            shutil.rmtree(context)
        _forget_older(name, env)
    return name


def _fill(context: Path, rootfs: Path, kubernetes: Path, containerd: Path, archives: dict[str, Archive]) -> None:
    """Put the parts beside the Dockerfile; hard links where the file system allows it, since they are large."""
    _link(rootfs, context / "rootfs.tar")
    for program in ("kubelet", "kubeadm", "kubectl"):
        _link(kubernetes / program, context / "bin" / program)
    for program in _CONTAINERD:
        _link(containerd / program, context / "bin" / program)
    for name, archive in archives.items():
        _link(archive.path, context / name)
    files = context / "files"
    (files / "kind/version").write_text(gotools.KUBERNETES.version())
    config = files / "etc/containerd/config.toml"
    config.write_text(config.read_text().replace("@PAUSE@", systemimages.pause_name(kubernetes / "kubeadm")))


def _link(source: Path, target: Path) -> None:
    target.parent.mkdir(parents=True, exist_ok=True)
    try:
        os.link(source, target)
    except OSError:
        shutil.copy2(source, target)


def _forget_older(name: str, env: dict[str, str]) -> None:
    listing = run(["docker", "image", "ls", "--format", "{{.Repository}}:{{.Tag}}", _REPOSITORY], timeout_s=30, env=env)
    for other in listing.split():
        if other != name:
            # One that a cluster still runs on cannot be removed, and need not be.
            succeeds(["docker", "image", "rm", other], timeout_s=60, env=env)
