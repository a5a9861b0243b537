"""Debian packages that must be installed on the machine itself; everything else is unpacked into the cache."""

import os
import shutil
from collections.abc import Callable
from pathlib import Path

from deploy.kind.console import Problem, say, step
from deploy.kind.process import Failed, run

# Program looked for -> package that brings it.
_WANTED = {
    "mmdebstrap": "mmdebstrap",
    "iptables": "iptables",
    "ip": "iproute2",
    "nsenter": "util-linux",
    "unshare": "util-linux",
    "mount": "mount",
}
_SYSTEM_PATH = "/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin"


def missing(which: Callable[[str], str | None] | None = None) -> list[str]:
    """Packages whose programs are not on the machine. ``which`` finds a program (default: the system's paths)."""
    find = which or (lambda program: shutil.which(program, path=_SYSTEM_PATH))
    return sorted({package for program, package in _WANTED.items() if find(program) is None})


def require_root() -> None:
    """Refuse early, before minutes of building, where the end cannot be reached.

    Raises:
        Problem: if the caller is not root.
    """
    if os.geteuid() != 0:
        raise Problem(
            "no Docker engine answers here (or it reaches no image registry), and starting an own one takes root: "
            "run as root, or start Docker"
        )


def ensure() -> None:
    """Install what the project's own engine and node image need, and say so.

    Raises:
        Problem: if the caller is not root, or this is not a Debian-like machine.
    """
    require_root()
    packages = missing()
    if not packages:
        say("Debian packages: nothing to install")
        return
    if not Path("/usr/bin/apt-get").exists():
        raise Problem(f"programs of {', '.join(packages)} are missing and there is no apt-get: install them by hand")
    env = {**os.environ, "DEBIAN_FRONTEND": "noninteractive"}
    install = ["apt-get", "install", "-y", "--no-install-recommends", *packages]
    with step(f"install {', '.join(packages)}"):
        try:
            run(install, timeout_s=600, env=env)
        except Failed:
            run(["apt-get", "update"], timeout_s=300, env=env)
            run(install, timeout_s=600, env=env)
