"""The parts around dockerd that decide something: capabilities, the runc wrapper, limits, which engine to use."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from pathlib import Path

import pytest

from deploy.kind import engine
from deploy.kind.console import Problem
from deploy.kind.engine.capabilities import lacking
from deploy.kind.engine.limits import ENOUGH, raise_inotify, restore_inotify
from deploy.kind.engine.residue import note_modules_folder
from deploy.kind.hostdeps import missing
from deploy.kind.paths import Cache
from deploy.kind.provider import choose, registry_image

WRAPPER = Path(engine.__file__).parent / "runc_without_capability.py"


@pytest.mark.parametrize(
    ("bounding", "expected"),
    [("000001ffffffffff", []), ("000001fffeffffff", ["CAP_SYS_RESOURCE"]), ("0", ["CAP_SYS_RESOURCE"])],
)
def test_a_capability_outside_the_bounding_set_is_found(bounding: str, expected: list[str]) -> None:
    assert lacking(f"Name:\tx\nCapPrm:\tffff\nCapBnd:\t{bounding}\n") == expected


def wrapped(tmp_path: Path, *words: str) -> list[str]:
    """Run the wrapper with a runc that prints its arguments."""
    runc = tmp_path / "runc"
    runc.write_text('#!/bin/sh\nprintf "%s\\n" "$@"\n')
    runc.chmod(0o755)
    env = {**os.environ, "HOLDFAST_DROP": "CAP_SYS_RESOURCE", "HOLDFAST_RUNC": str(runc)}
    done = subprocess.run(
        [sys.executable, "-IS", str(WRAPPER), *words], env=env, capture_output=True, text=True, check=True, timeout=20
    )
    return done.stdout.splitlines()


PROCESS = {
    "capabilities": {"bounding": ["CAP_CHOWN", "CAP_SYS_RESOURCE"], "effective": ["CAP_SYS_RESOURCE"]},
    "oomScoreAdj": -998,
    "args": ["sh"],
}
RESTRICTED = {"capabilities": {"bounding": ["CAP_CHOWN"], "effective": []}, "args": ["sh"]}


def test_a_bundle_loses_what_cannot_be_had(tmp_path: Path) -> None:
    config = tmp_path / "config.json"
    config.write_text(json.dumps({"process": PROCESS, "root": {"path": "rootfs"}}))
    words = ["--log", "x", "create", "--bundle", str(tmp_path), "id"]
    assert wrapped(tmp_path, *words) == words
    assert json.loads(config.read_text()) == {"process": RESTRICTED, "root": {"path": "rootfs"}}


def test_so_does_the_process_of_an_exec(tmp_path: Path) -> None:
    process = tmp_path / "process.json"
    process.write_text(json.dumps(PROCESS))
    words = ["exec", f"--process={process}", "id"]
    assert wrapped(tmp_path, *words) == words
    assert json.loads(process.read_text()) == RESTRICTED


def test_other_calls_pass_as_they_are(tmp_path: Path) -> None:
    assert wrapped(tmp_path, "state", "id") == ["state", "id"]


def test_the_inotify_limit_is_raised_and_put_back(tmp_path: Path) -> None:
    setting, former, lock, links = (tmp_path / name for name in ("setting", "former", "lock", "net"))
    links.mkdir()
    setting.write_text("128\n")
    raise_inotify(setting, former, lock)
    raise_inotify(setting, former, lock)
    assert int(setting.read_text()) == ENOUGH
    (links / "hfabcdefh").mkdir()
    restore_inotify(setting, former, lock, links)
    assert int(setting.read_text()) == ENOUGH, "another engine still runs"
    (links / "hfabcdefh").rmdir()
    restore_inotify(setting, former, lock, links)
    assert int(setting.read_text()) == 128
    assert not former.exists()
    assert not lock.exists()


def test_a_limit_that_is_high_enough_is_left_alone(tmp_path: Path) -> None:
    setting, former, lock = (tmp_path / name for name in ("setting", "former", "lock"))
    setting.write_text("8192\n")
    raise_inotify(setting, former, lock)
    restore_inotify(setting, former, lock, tmp_path)
    assert setting.read_text() == "8192\n"


def test_the_modules_folder_is_noted_only_where_it_lacks(tmp_path: Path) -> None:
    mark = tmp_path / "mark"
    note_modules_folder(mark)
    assert mark.exists() is not Path("/lib/modules").exists()


def test_missing_packages_are_named_once() -> None:
    assert missing(lambda program: None if program in {"nsenter", "unshare", "iptables"} else f"/bin/{program}") == [
        "iptables",
        "util-linux",
    ]
    assert missing(lambda program: f"/bin/{program}") == []


def test_the_engine_can_be_named(tmp_path: Path) -> None:
    cache = Cache(tmp_path)
    assert choose(cache, {"HOLDFAST_PROVIDER": "docker"}) == "docker"
    assert choose(cache, {"HOLDFAST_PROVIDER": "offline"}) == "offline"
    with pytest.raises(Problem, match="HOLDFAST_PROVIDER must be docker or offline, not 'podman'"):
        choose(cache, {"HOLDFAST_PROVIDER": "podman"})


def test_the_node_image_can_come_from_a_mirror() -> None:
    assert registry_image({"HOLDFAST_NODE_IMAGE": "mirror.example/node:1"}) == "mirror.example/node:1"
    assert "@sha256:" in registry_image({})
