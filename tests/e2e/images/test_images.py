"""The images as they will run: non-root, nothing writable, and the trainer's promise of equal ends."""

from __future__ import annotations

from pathlib import Path

import pytest

from tests.e2e.images.containers import Engine

WRITABLE = "find / -xdev -writable ! -type l ! -path '/proc/*' ! -path '/dev/*' ! -path '/sys/*'"
BYTECODE = """
import importlib.util, pathlib, sys
for name in sys.argv[1:]:
    cached = importlib.util.find_spec(name).cached
    assert pathlib.Path(cached).is_file(), name
    flags = int.from_bytes(pathlib.Path(cached).read_bytes()[4:8], "little")
    assert flags == 1, f"{name}: bytecode that looks at the source ({flags})"
print("compiled")
"""


@pytest.mark.parametrize("image", ["holdfast", "holdfast-trainer"])
def test_nothing_in_the_image_is_writable_and_the_user_is_not_root(engine: Engine, image: str) -> None:
    done = engine.run(image, "sh", "-c", f"id -u; {WRITABLE} -type f 2>/dev/null", user="")
    assert done.output.split() == ["65532"]


@pytest.mark.parametrize(("entry", "word"), [("holdfast-sidecar", "restore"), ("holdfast-operator", "HOLDFAST_")])
def test_the_entry_points_start_as_any_user(engine: Engine, entry: str, word: str) -> None:
    words = [entry, "--help"] if entry == "holdfast-sidecar" else [entry]
    for user in ("65532:65532", "1234:5678"):
        done = engine.run("holdfast", *words, user=user)
        assert word in done.output, done.output
        assert "Traceback" not in done.output


@pytest.mark.parametrize(
    ("image", "modules"),
    [
        ("holdfast", ["holdfast.app.main", "holdfast.sidecar.main", "kopf", "aiohttp", "google.cloud.storage"]),
        ("holdfast-trainer", ["holdfast.client.orbax", "jax", "orbax.checkpoint", "numpy"]),
    ],
)
def test_bytecode_is_there_before_the_root_is_read_only(engine: Engine, image: str, modules: list[str]) -> None:
    done = engine.run(image, "python3", "-c", BYTECODE, *modules)
    assert done.output.strip() == "compiled"


def test_the_sidecar_never_loads_the_operators_framework(engine: Engine) -> None:
    program = "import sys, holdfast.sidecar.main; print(sorted({'kopf', 'pydantic', 'kubernetes'} & set(sys.modules)))"
    assert engine.run("holdfast", "python3", "-c", program).output.strip() == "[]"


def test_a_host_that_is_slow_to_make_its_directories_neither_fails_nor_holds_up_the_others(engine: Engine) -> None:
    script = Path(__file__).with_name("slow_directories.py").read_text()
    command = f"cat >/tmp/slow_directories.py <<'END'\n{script}END\nexec python3 /tmp/slow_directories.py /ckpt"
    scratch = ("--tmpfs", "/ckpt:mode=0777", "--tmpfs", "/tmp:mode=1777")
    done = engine.run("holdfast-trainer", "sh", "-c", command, options=scratch)
    assert done.code == 0, done.output[-4000:]
    saved = sorted(done.events("saved"), key=lambda line: int(line["worker"]))
    assert saved == [{"event": "saved", "worker": number, "steps": [1, 2, 3], "equal": True} for number in (0, 1)]
