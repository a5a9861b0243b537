"""Keys of cached results: a digest of everything that went into them, and an atomic way into the cache."""

import fcntl
import hashlib
import os
import shutil
import tempfile
from collections.abc import Iterable, Iterator
from contextlib import contextmanager
from pathlib import Path


def key_of(parts: Iterable[str | bytes]) -> str:
    """Twelve hexadecimal digits that change with any part, with their order, and with where one part ends."""
    digest = hashlib.sha256()
    for part in parts:
        data = part.encode() if isinstance(part, str) else part
        digest.update(len(data).to_bytes(8, "big"))
        digest.update(data)
    return digest.hexdigest()[:12]


def tree_parts(root: Path) -> list[str | bytes]:
    """Names, modes and contents of all files below ``root``, in a stable order, for `key_of`."""
    parts: list[str | bytes] = []
    for path in sorted(root.rglob("*")):
        if path.is_file():
            parts += [str(path.relative_to(root)), oct(path.stat().st_mode & 0o111), path.read_bytes()]
    return parts


def file_digest(path: Path) -> str:
    """SHA-256 of a file in hexadecimal digits."""
    with path.open("rb") as file:
        return hashlib.file_digest(file, "sha256").hexdigest()


@contextmanager
def building(target: Path) -> Iterator[Path]:
    """A fresh folder beside ``target`` that becomes ``target`` if the block succeeds, and vanishes if not."""
    target.parent.mkdir(parents=True, exist_ok=True)
    scratch = Path(tempfile.mkdtemp(prefix=f".{target.name}.", dir=target.parent))
    scratch.chmod(0o755)
    try:
        yield scratch
        if target.exists():
            shutil.rmtree(target)
        scratch.rename(target)
    finally:
        shutil.rmtree(scratch, ignore_errors=True)


def forget_older(target: Path) -> None:
    """Remove earlier keys of the same result (``name-*`` beside ``name-KEY``), so that the cache does not grow."""
    stem = target.name.rsplit("-", 1)[0]
    for sibling in target.parent.iterdir():
        if sibling != target and sibling.name.rsplit("-", 1)[0] == stem and len(sibling.name) == len(target.name):
            shutil.rmtree(sibling, ignore_errors=True)


@contextmanager
def locked(path: Path) -> Iterator[None]:
    """Hold an exclusive lock on a file; a second process waits. The kernel lets go if the holder dies."""
    path.parent.mkdir(parents=True, exist_ok=True)
    descriptor = os.open(path, os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, 0o600)
    try:
        fcntl.flock(descriptor, fcntl.LOCK_EX)
        yield
    finally:
        os.close(descriptor)
