"""What the project needs on a machine before anything else: ``python3 -m deploy.prerequisites``.

Debian packages, the Python environment in ``.venv`` with exactly what the lock files name, and the Go programs. Each
part is skipped where it is up to date, so the command may be run at any time. Only the standard library is imported:
this runs before there is an environment.
"""

import os
import platform
import shutil
import sys
from pathlib import Path

from deploy.kind import gotools, hostdeps, provider
from deploy.kind.console import Problem, say, step
from deploy.kind.digests import key_of
from deploy.kind.paths import cache
from deploy.kind.process import run, succeeds

ROOT = Path(__file__).resolve().parents[1]
ENVIRONMENT = ROOT / ".venv"
OLDEST, NEWEST = (3, 11), (3, 13)
_INSTALL_TIMEOUT_S = 900.0
_LOCKS = ("requirements/uv.txt", "requirements/dev.txt")


def main() -> int:
    """Install what is missing; returns the exit code."""
    try:
        _check_python()
        ensure_environment()
        own = cache()
        name = provider.choose(own)
        if name == "offline":
            hostdeps.ensure()
        gotools.ensure_all(own, gotools.needed(name))
    except Problem as problem:
        say(f"error: {problem}")
        return 1
    say("everything that the project needs is there")
    return 0


def environment_key() -> str:
    """Key of the Python environment: the interpreter, the lock files, and what an installation of ours depends on."""
    files = [(ROOT / name).read_bytes() for name in (*_LOCKS, "pyproject.toml")]
    return key_of([sys.version, platform.machine(), sys.executable, *files])


def ensure_environment() -> None:
    """Make ``.venv`` hold exactly what the lock files name, and the project itself, editable.

    Raises:
        Problem: if the environment cannot be made or a package cannot be had.
    """
    stamp = ENVIRONMENT / ".holdfast"
    key = environment_key()
    if stamp.is_file() and stamp.read_text() == key:
        say("Python environment: up to date")
        return
    env = {**os.environ, "VIRTUAL_ENV": str(ENVIRONMENT)}
    python = ENVIRONMENT / "bin/python"
    with step(f"Python environment in {ENVIRONMENT.name} (Python {platform.python_version()})"):
        if not succeeds([python, "-m", "pip", "--version"], timeout_s=60) or _version_of(python) != sys.version:
            _create()
        run([python, "-m", "pip", "install", "--quiet", "--require-hashes", "-r", ROOT / "requirements/uv.txt"],
            timeout_s=_INSTALL_TIMEOUT_S, env=env)  # fmt: skip
        uv = ENVIRONMENT / "bin/uv"
        run([uv, "pip", "install", "--quiet", "--require-hashes", "-r", ROOT / "requirements/dev.txt"],
            timeout_s=_INSTALL_TIMEOUT_S, env=env)  # fmt: skip
        run([uv, "pip", "install", "--quiet", "--no-deps", "--no-build-isolation", "--editable", ROOT],
            timeout_s=_INSTALL_TIMEOUT_S, env=env)  # fmt: skip
    stamp.write_text(key)


def _check_python() -> None:
    if not OLDEST <= sys.version_info[:2] <= NEWEST:
        raise Problem(
            f"Python {platform.python_version()} is not supported: run make with PYTHON=python3.11 (up to 3.13)"
        )


def _version_of(python: Path) -> str:
    return run([python, "-c", "import sys; print(sys.version)"], timeout_s=60).strip()


def _create() -> None:
    shutil.rmtree(ENVIRONMENT, ignore_errors=True)
    words: list[str | Path] = [sys.executable, "-m", "venv", ENVIRONMENT]
    if succeeds([sys.executable, "-c", "import ensurepip"], timeout_s=60):
        run(words, timeout_s=300)
        return
    # Debian keeps this part of the standard library in a package of its own.
    package = f"python3.{sys.version_info[1]}-venv"
    if os.geteuid() != 0 or not shutil.which("apt-get"):
        raise Problem(f"this Python cannot make environments: install {package} (or python3-venv)")
    with step(f"install {package}"):
        if not succeeds(["apt-get", "install", "-y", "--no-install-recommends", package], timeout_s=600):
            run(["apt-get", "update"], timeout_s=300)
            run(["apt-get", "install", "-y", "--no-install-recommends", package], timeout_s=600)
    run(words, timeout_s=300)


if __name__ == "__main__":
    sys.exit(main())
