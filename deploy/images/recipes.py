"""What each image is made from, and the tag that follows from it: equal inputs give an equal tag."""

import platform
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

from deploy.kind.digests import key_of

ROOT = Path(__file__).resolve().parents[2]
PUBLIC_BASE = "python:3.11-slim"


@dataclass(frozen=True)
class Recipe:
    """One image. ``locks`` are the requirement files whose wheels it takes, ``sources`` files and folders of the
    repository that its Containerfile copies."""

    name: str
    containerfile: str
    locks: tuple[str, ...]
    sources: tuple[str, ...]

    def files(self, root: Path = ROOT) -> list[Path]:
        """All files that go into the build, relative to ``root``, in a stable order.

        Raises:
            FileNotFoundError: if one of the sources is not there.
        """
        found: set[Path] = set()
        for source in (self.containerfile, "deploy/images/install.sh", *self.locks, *self.sources):
            path = root / source
            if path.is_dir():
                found.update(file.relative_to(root) for file in path.rglob("*") if _is_source(file))
            elif path.is_file():
                found.add(path.relative_to(root))
            else:
                raise FileNotFoundError(f"{source} belongs to the image {self.name} and is not there")
        return sorted(found)

    def digest(self, base: str, root: Path = ROOT) -> str:
        """Twelve hexadecimal digits of everything that makes the image what it is."""
        parts: list[str | bytes] = [base, platform.machine()]
        for file in self.files(root):
            path = root / file
            parts += [file.as_posix(), oct(path.stat().st_mode & 0o111), path.read_bytes()]
        return key_of(parts)

    def reference(self, base: str, root: Path = ROOT) -> str:
        """The image's name with its tag."""
        return f"localhost/{self.name}:{self.digest(base, root)}"

    def latest(self) -> str:
        """The name that always means the image loaded last; the examples use it."""
        return f"localhost/{self.name}:latest"


def _is_source(path: Path) -> bool:
    return path.is_file() and "__pycache__" not in path.parts and path.suffix != ".pyc"


HOLDFAST = Recipe(
    name="holdfast",
    containerfile="deploy/images/Containerfile.holdfast",
    locks=("requirements/uv.txt", "requirements/image.txt"),
    sources=("deploy/images/entry", "operator/holdfast"),
)
TRAINER = Recipe(
    name="holdfast-trainer",
    containerfile="deploy/images/Containerfile.trainer",
    locks=("requirements/uv.txt", "requirements/trainer.txt", "requirements/digits.txt"),
    sources=(
        "deploy/images/digits.py",
        "operator/holdfast/__init__.py",
        "operator/holdfast/client",
        "examples/digits/data.py",
        "examples/digits/model.py",
        "examples/digits/train.py",
        "examples/plain/train.py",
    ),
)
ALL: Sequence[Recipe] = (HOLDFAST, TRAINER)
