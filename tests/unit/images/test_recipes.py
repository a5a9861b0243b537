"""An image's tag follows from what it is made of, and from nothing else."""

from __future__ import annotations

import shutil
from pathlib import Path

import pytest

from deploy.images.recipes import ALL, HOLDFAST, ROOT, TRAINER, Recipe

BASE = "base:1"


@pytest.fixture
def copy(tmp_path: Path) -> Path:
    """The inputs of all images, in a folder of their own."""
    for recipe in ALL:
        for file in recipe.files():
            (tmp_path / file).parent.mkdir(parents=True, exist_ok=True)
            shutil.copy2(ROOT / file, tmp_path / file)
    return tmp_path


@pytest.mark.parametrize("recipe", ALL, ids=lambda recipe: recipe.name)
def test_equal_inputs_give_an_equal_tag(recipe: Recipe, copy: Path) -> None:
    assert recipe.digest(BASE, copy) == recipe.digest(BASE)
    assert recipe.reference(BASE) == f"localhost/{recipe.name}:{recipe.digest(BASE)}"


@pytest.mark.parametrize("recipe", ALL, ids=lambda recipe: recipe.name)
def test_every_input_counts(recipe: Recipe, copy: Path) -> None:
    seen = {recipe.digest(BASE, copy), recipe.digest("base:2", copy)}
    for file in recipe.files(copy):
        content = (copy / file).read_bytes()
        (copy / file).write_bytes(content + b"\n")
        seen.add(recipe.digest(BASE, copy))
        (copy / file).write_bytes(content)
    assert len(seen) == 2 + len(recipe.files(copy))


def test_a_mode_counts_and_a_new_module_too(copy: Path) -> None:
    before = HOLDFAST.digest(BASE, copy)
    (copy / "deploy/images/entry/holdfast-sidecar").chmod(0o644)
    changed = HOLDFAST.digest(BASE, copy)
    (copy / "operator/holdfast/new.py").write_text("")
    assert len({before, changed, HOLDFAST.digest(BASE, copy)}) == 3


def test_what_python_leaves_behind_does_not_count(copy: Path) -> None:
    before = HOLDFAST.digest(BASE, copy)
    cached = copy / "operator/holdfast/__pycache__"
    cached.mkdir()
    (cached / "x.cpython-311.pyc").write_bytes(b"x")
    assert HOLDFAST.digest(BASE, copy) == before


def test_the_operators_code_does_not_touch_the_trainers_image(copy: Path) -> None:
    before = TRAINER.digest(BASE, copy)
    (copy / "operator/holdfast/api/wire.py").write_text("")
    assert TRAINER.digest(BASE, copy) == before


def test_a_missing_input_is_named(copy: Path) -> None:
    (copy / "requirements/image.txt").unlink()
    with pytest.raises(FileNotFoundError, match=r"requirements/image\.txt belongs to the image holdfast"):
        HOLDFAST.files(copy)


@pytest.mark.parametrize("recipe", ALL, ids=lambda recipe: recipe.name)
def test_the_containerfile_copies_only_what_the_recipe_knows(recipe: Recipe) -> None:
    files = recipe.files()
    content = (ROOT / recipe.containerfile).read_text().replace("\\\n", " ")
    copied = [
        word
        for line in content.splitlines()
        if line.startswith("COPY ") and "--from" not in line
        for word in line.split()[1:-1]
    ]
    assert copied
    for word in copied:
        if word != "wheel[s]":
            assert any(file == Path(word) or Path(word) in file.parents for file in files), word
