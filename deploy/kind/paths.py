"""Where everything lives: inputs in the repository, results in a per-user cache that outlives a clone."""

import os
from dataclasses import dataclass
from pathlib import Path

from deploy.kind.console import Problem

HERE = Path(__file__).resolve().parent
TOOLS = HERE / "tools"
NODE = HERE / "node"
MANIFESTS = HERE / "manifests"

# sun_path of a Unix socket holds 108 bytes with its closing zero (unix(7)); docker's is the longest of ours.
_SOCKET_PATH_LIMIT = 107


@dataclass(frozen=True)
class Cache:
    """The folders of one user's cache. Two users, or two XDG_CACHE_HOME, never share an engine or a cluster."""

    root: Path

    @property
    def tools(self) -> Path:
        """Go binaries, one folder a tool and key."""
        return self.root / "gotools"

    @property
    def debian(self) -> Path:
        """Root file systems and unpacked Debian packages."""
        return self.root / "debian"

    @property
    def images(self) -> Path:
        """Image archives."""
        return self.root / "images"

    @property
    def engine(self) -> Path:
        """State of the project's own dockerd; its images survive between runs."""
        return self.root / "engine"

    @property
    def clusters(self) -> Path:
        """One folder a cluster: kubeconfig, kind config, shared volume directory."""
        return self.root / "clusters"

    @property
    def logs(self) -> Path:
        """Build logs."""
        return self.root / "logs"

    def socket(self) -> Path:
        """Path of dockerd's socket.

        Raises:
            Problem: if the cache lies so deep that the socket's path does not fit.
        """
        path = self.engine / "docker.sock"
        if len(os.fsencode(path)) > _SOCKET_PATH_LIMIT:
            raise Problem(f"{path} is too long for a Unix socket: set XDG_CACHE_HOME to a shorter path")
        return path


def cache() -> Cache:
    """The cache of the calling user: ``${XDG_CACHE_HOME:-~/.cache}/holdfast``."""
    base = os.environ.get("XDG_CACHE_HOME") or str(Path.home() / ".cache")
    return Cache(Path(base).expanduser().resolve() / "holdfast")
