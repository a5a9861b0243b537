"""One control plane's name, folder and ports."""

import re
import socket
from dataclasses import dataclass
from pathlib import Path

from deploy.kind.console import Problem
from deploy.kind.digests import key_of
from deploy.kind.paths import Cache

_NAME = re.compile(r"[a-z0-9]([a-z0-9-]{0,30}[a-z0-9])?")
_FIRST_PORT = 22000
_BLOCK = 10
_BLOCKS = 400
_ROLES = ("etcd", "etcd-peer", "kube-apiserver", "kube-controller-manager", "kube-scheduler", "kwok")


@dataclass(frozen=True)
class Instance:
    """The folder of one control plane and the first of its ports."""

    name: str
    folder: Path
    first_port: int

    def port(self, role: str) -> int:
        """The port of a part, all on 127.0.0.1."""
        return self.first_port + _ROLES.index(role)

    @property
    def server(self) -> str:
        """Address of the API server."""
        return f"https://127.0.0.1:{self.port('kube-apiserver')}"

    @property
    def kubeconfig(self) -> Path:
        """Credentials of the administrator."""
        return self.folder / "admin.kubeconfig"

    @property
    def pki(self) -> Path:
        """Certificates and keys."""
        return self.folder / "pki"

    @property
    def run(self) -> Path:
        """Records of the processes."""
        return self.folder / "run"

    @property
    def logs(self) -> Path:
        """Logs of the processes."""
        return self.folder / "log"

    @property
    def lock(self) -> Path:
        """Lock file: one verb at a time."""
        return self.folder.parent / f".{self.name}.lock"


def folder_of(name: str, cache: Cache) -> Path:
    """The folder of the control plane ``name``.

    Raises:
        Problem: if the name is none.
    """
    if not _NAME.fullmatch(name):
        raise Problem(f"{name!r} is no name: use 1 to 32 lower-case letters, digits and dashes")
    return cache.root / "fleets" / name


def known(name: str, cache: Cache) -> Instance | None:
    """The instance that was made under that name, if there is one."""
    folder = folder_of(name, cache)
    try:
        return Instance(name, folder, int((folder / "first-port").read_text()))
    except (OSError, ValueError):
        return None


def make(name: str, cache: Cache) -> Instance:
    """A new instance with ports that nobody listens on.

    Raises:
        Problem: if there are none.
    """
    folder = folder_of(name, cache)
    preferred = int(key_of([str(folder)]), 16) % _BLOCKS
    for step in range(_BLOCKS):
        instance = Instance(name, folder, _FIRST_PORT + _BLOCK * ((preferred + step) % _BLOCKS))
        if all(_free(instance.port(role)) for role in _ROLES):
            for part in (folder, instance.pki, instance.run, instance.logs):
                part.mkdir(mode=0o700, parents=True, exist_ok=True)
            (folder / "first-port").write_text(str(instance.first_port))
            return instance
    last = _FIRST_PORT + _BLOCK * _BLOCKS - 1
    raise Problem(f"no free ports between {_FIRST_PORT} and {last} on 127.0.0.1: stop what listens there")


def _free(port: int) -> bool:
    with socket.socket(socket.AF_INET, socket.SOCK_STREAM) as probe:
        # As the servers do: a port in TIME_WAIT is free.
        probe.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        try:
            probe.bind(("127.0.0.1", port))
        except OSError:
            return False
    return True
