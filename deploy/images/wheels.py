"""Wheels for the images, fetched on the machine itself: the engine that builds may have no network.

They are for the image's Python and platform, whatever runs here, and only what the lock files' hashes allow.
"""

import os
import platform
import sys
from pathlib import Path

from deploy.images.recipes import ROOT
from deploy.kind.console import Problem, step
from deploy.kind.digests import building, forget_older, key_of, locked
from deploy.kind.paths import Cache
from deploy.kind.process import run

PYTHON = "3.11"
# glibc of Debian bookworm, on which both bases stand; wheels for any older one run there too (PEP 600).
_GLIBC_MINOR = 36
_OLDEST_GLIBC_MINOR = 5
_TIMEOUT_S = 1200.0


def platforms(machine: str) -> list[str]:
    """The wheel platforms that run on the images' glibc, newest first."""
    tags = [f"manylinux_2_{minor}_{machine}" for minor in range(_GLIBC_MINOR, _OLDEST_GLIBC_MINOR - 1, -1)]
    return [*tags, f"manylinux2014_{machine}"]


def ensure(lock: str, cache: Cache) -> Path:
    """A folder with all wheels of a lock file (a path in the repository); fetched once for each content of it.

    Raises:
        Problem: if there is no pip to fetch with, or the fetch fails.
    """
    machine = platform.machine()
    file = ROOT / lock
    name = file.stem
    target = cache.root / "wheels" / f"{name}-{key_of([file.read_bytes(), machine, PYTHON])}"
    with locked(cache.root / "wheels" / f".{name}.lock"):
        if target.is_dir():
            return target
        with step(f"fetch the wheels of {lock}"), building(target) as scratch:
            words: list[str | Path] = [_python(), "-m", "pip", "download", "--quiet", "--no-deps", "--require-hashes",
                     "--only-binary", ":all:", "--python-version", PYTHON, "--dest", scratch]  # fmt: skip
            for tag in platforms(machine):
                words += ["--platform", tag]
            run([*words, "-r", file], timeout_s=_TIMEOUT_S, env=dict(os.environ))
        forget_older(target)
    return target


def _python() -> str:
    """A Python with pip: the project's own environment, else the one that runs."""
    own = ROOT / ".venv/bin/python"
    if own.is_file():
        return str(own)
    try:
        import pip  # noqa: F401 - only whether it is there
    except ImportError as error:
        raise Problem("fetching wheels needs pip: run make deps first") from error
    return sys.executable
