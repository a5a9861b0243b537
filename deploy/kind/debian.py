"""What comes from Debian packages: root file systems and programs that are unpacked, not installed.

The mirror is whatever the machine's own apt is configured with.
"""

import functools
import os
import shutil
from pathlib import Path

from deploy.kind.console import Problem, step
from deploy.kind.digests import building, forget_older, key_of, locked
from deploy.kind.paths import Cache
from deploy.kind.process import Failed, run, run_logged

# systemd of this suite (252) runs on hosts with cgroup v1; that of the next one (257) was not tried there.
SUITE = "bookworm"

NODE_PACKAGES = (
    "systemd", "systemd-sysv", "dbus", "iproute2", "iptables", "nftables", "conntrack", "ethtool", "socat",
    "util-linux", "mount", "kmod", "procps", "containernetworking-plugins", "runc", "ca-certificates", "hostname",
    "tar", "curl",
)  # fmt: skip
NETWORK_PACKAGES = ("iptables", "nftables", "conntrack", "kmod", "iproute2", "curl", "jq", "ca-certificates")
ENGINE_PACKAGES = ("docker.io", "containerd", "runc", "tini")
STATIC_PACKAGES = ("busybox-static", "catatonit")

_LEAN = (
    "--dpkgopt=path-exclude=/usr/share/man/*",
    "--dpkgopt=path-exclude=/usr/share/doc/*",
    "--dpkgopt=path-exclude=/usr/share/locale/*",
    '--aptopt=Acquire::Languages "none"',
)


def mirror() -> str:
    """The address of the first Debian archive in apt's configuration.

    Raises:
        Problem: if apt knows none.
    """
    listing = run(
        ["apt-get", "indextargets", "--format", "$(ORIGIN)|$(COMPONENT)|$(CODENAME)|$(REPO_URI)"], timeout_s=60
    )
    for line in listing.splitlines():
        origin, component, codename, address = line.split("|", 3)
        if origin == "Debian" and component == "main" and "-" not in codename:
            return address.rstrip("/")
    raise Problem(
        "apt on this machine knows no Debian archive, from which the node image is made: "
        "use a Debian machine (and run apt-get update once), or a Docker engine that reaches an image registry"
    )


@functools.cache
def machine() -> str:
    """Debian's name of this machine's architecture, such as ``amd64``."""
    return run(["dpkg", "--print-architecture"], timeout_s=10).strip()


def root_file_system(name: str, packages: tuple[str, ...], cache: Cache) -> Path:
    """A tar of a minimal Debian with ``packages``; made once, then cached by suite and package list."""
    target = cache.debian / f"{name}-{key_of([SUITE, machine(), *packages, *_LEAN])}"
    archive = target / "rootfs.tar"
    if archive.is_file():
        return archive
    with locked(cache.debian / f".{name}.lock"):
        if archive.is_file():
            return archive
        with step(f"bootstrap the {name} file system from Debian {SUITE} packages"), building(target) as scratch:
            run_logged(
                ["mmdebstrap", "--variant=minbase", f"--include={','.join(packages)}", *_LEAN, SUITE,
                 scratch / "rootfs.tar", mirror()],
                cache.logs / f"mmdebstrap-{name}.log", timeout_s=1200, env=dict(os.environ),
            )  # fmt: skip
        forget_older(target)
    return archive


def unpacked(name: str, packages: tuple[str, ...], cache: Cache) -> Path:
    """A folder with the files of ``packages`` as Debian ships them; nothing is installed on the machine."""
    target = cache.debian / f"{name}-{key_of([machine(), _codename(), *packages])}"
    if target.is_dir():
        return target
    with locked(cache.debian / f".{name}.lock"):
        if target.is_dir():
            return target
        with step(f"download and unpack {', '.join(packages)}"), building(target) as scratch:
            downloads = scratch / ".debs"
            downloads.mkdir()
            try:
                run(["apt-get", "download", *packages], timeout_s=600, cwd=downloads)
            except Failed:
                # A machine whose package lists are old or missing names versions that are gone.
                run(["apt-get", "update"], timeout_s=300)
                run(["apt-get", "download", *packages], timeout_s=600, cwd=downloads)
            for package in sorted(downloads.glob("*.deb")):
                run(["dpkg", "-x", package, scratch], timeout_s=120)
            shutil.rmtree(downloads)
        forget_older(target)
    return target


@functools.cache
def _codename() -> str:
    for line in Path("/etc/os-release").read_text().splitlines():
        if line.startswith("VERSION_CODENAME="):
            return line.partition("=")[2].strip('"')
    return "unknown"
