"""Build image archives with the cluster's own engine, keep them by digest, and put them into the nodes."""

import os
import shutil
import tempfile
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

from deploy.images import bases, wheels
from deploy.images.recipes import ALL, ROOT, Recipe
from deploy.kind import loading, provider
from deploy.kind.cluster import attach
from deploy.kind.console import say, step
from deploy.kind.digests import building, forget_older, locked
from deploy.kind.kube import Kube
from deploy.kind.paths import Cache
from deploy.kind.process import run, run_logged

_BUILD_TIMEOUT_S = 1800.0


@dataclass(frozen=True)
class Built:
    """An image that the cache holds: its name with the tag, and the archive."""

    reference: str
    archive: Path


def tags(cache: Cache) -> dict[str, str]:
    """The images' names with their tags, by the images' plain names."""
    base = bases.name_of(provider.choose(cache))
    return {recipe.name: recipe.reference(base) for recipe in ALL}


def build(cache: Cache, recipes: Sequence[Recipe] = ALL) -> dict[str, Built]:
    """Archives of the images, made if the cache does not have them, by the images' plain names."""
    name = provider.choose(cache)
    base = bases.name_of(name)
    built: dict[str, Built] = {}
    for recipe in recipes:
        with locked(cache.root / "workloads" / f".{recipe.name}.lock"):
            found = _place(recipe, recipe.digest(base), cache)
            built[recipe.name] = found if found.archive.is_file() else _build_one(recipe, name, base, cache)
    return built


def load(cluster: str, cache: Cache) -> dict[str, str]:
    """Build what is missing and put it into every node that does not have it; returns the images' names."""
    built = build(cache)
    kube = attach(cluster, cache)
    with locked(kube.state.lock):
        loading.load(kube, [image.archive for image in built.values()])
        for recipe in ALL:
            _name_latest(kube, built[recipe.name].reference, recipe.latest())
    return {name: image.reference for name, image in built.items()}


def _place(recipe: Recipe, digest: str, cache: Cache) -> Built:
    folder = cache.root / "workloads" / f"{recipe.name}-{digest}"
    return Built(f"localhost/{recipe.name}:{digest}", folder / "image.tar")


def _name_latest(kube: Kube, reference: str, latest: str) -> None:
    """Let ``latest`` mean this image in every node, also where an older one was loaded after it."""
    for node in kube.running():
        kube.docker("exec", node, "ctr", "-n", "k8s.io", "images", "tag", "--force", reference, latest)


def _build_one(recipe: Recipe, name: provider.Name, base: str, cache: Cache) -> Built:
    with _context(recipe, cache) as context:
        # The digest is taken from the copy: the sources may be edited while the image is built.
        image = _place(recipe, recipe.digest(base, context), cache)
        with step(f"build {image.reference}"), building(image.archive.parent) as scratch:
            chosen = provider.provide(name, cache)
            env = chosen.environment()
            bases.ensure(chosen, cache)
            run_logged(
                ["docker", "build", "--network", "none", "--build-arg", f"BASE={base}", "--tag", image.reference,
                 "--file", context / recipe.containerfile, context],
                cache.logs / f"image-{recipe.name}.log", timeout_s=_BUILD_TIMEOUT_S, env=env,
            )  # fmt: skip
            run(["docker", "tag", image.reference, recipe.latest()], timeout_s=30, env=env)
            target = scratch / image.archive.name
            run(["docker", "save", "--output", target, image.reference, recipe.latest()], timeout_s=600, env=env)
            _forget_older_images(recipe, image.reference, env)
    forget_older(image.archive.parent)
    say(f"{image.reference}: {image.archive.stat().st_size / 1e6:.0f} MB")
    return image


@contextmanager
def _context(recipe: Recipe, cache: Cache) -> Iterator[Path]:
    """A build context with just the files of the recipe, and the wheels so that nothing has to be fetched."""
    folders = [wheels.ensure(lock, cache) for lock in recipe.locks]
    scratch = Path(tempfile.mkdtemp(prefix=f".context-{recipe.name}.", dir=cache.root / "workloads"))
    try:
        for file in recipe.files():
            target = scratch / file
            target.parent.mkdir(parents=True, exist_ok=True)
            shutil.copy2(ROOT / file, target)
        (scratch / "wheels").mkdir()
        for wheel in (wheel for folder in folders for wheel in folder.glob("*.whl")):
            os.link(wheel, scratch / "wheels" / wheel.name)  # both are in the cache, so on one file system
        yield scratch
    finally:
        shutil.rmtree(scratch, ignore_errors=True)


def _forget_older_images(recipe: Recipe, keep: str, env: dict[str, str]) -> None:
    """Take older tags away from the engine. Their layers stay as long as the newest shares them."""
    listing = run(
        ["docker", "image", "ls", "--format", "{{.Repository}}:{{.Tag}}", f"localhost/{recipe.name}"],
        timeout_s=30, env=env,
    )  # fmt: skip
    older = [name for name in listing.split() if name not in (keep, recipe.latest())]
    if older:
        run(["docker", "image", "rm", "--no-prune", *older], timeout_s=120, env=env)
