"""Keys change with every input, and only whole results get into the cache."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

import pytest

from deploy.kind.digests import building, file_digest, forget_older, key_of, tree_parts


def test_a_key_depends_on_every_part_and_its_borders() -> None:
    keys = {key_of(parts) for parts in (["ab", "c"], ["a", "bc"], ["abc"], ["c", "ab"], ["ab", "c", ""])}
    assert len(keys) == 5
    assert key_of(["ab", b"c"]) == key_of([b"ab", "c"])


def test_a_tree_is_known_by_names_modes_and_contents(tmp_path: Path) -> None:
    (tmp_path / "folder").mkdir()
    script = tmp_path / "folder/script"
    script.write_text("one")
    seen = {key_of(tree_parts(tmp_path))}
    script.chmod(0o755)
    seen.add(key_of(tree_parts(tmp_path)))
    script.write_text("two")
    seen.add(key_of(tree_parts(tmp_path)))
    script.rename(tmp_path / "script")
    seen.add(key_of(tree_parts(tmp_path)))
    assert len(seen) == 4


def test_a_failed_build_leaves_nothing(tmp_path: Path) -> None:
    target = tmp_path / "tool-abc"

    def build() -> None:
        with building(target) as scratch:
            (scratch / "half").write_text("x")
            raise ValueError("compiler")

    with pytest.raises(ValueError, match="compiler"):
        build()
    assert list(tmp_path.iterdir()) == []


def test_a_finished_build_replaces_what_was_there(tmp_path: Path) -> None:
    target = tmp_path / "tool-abc"
    for content in ("first", "second"):
        with building(target) as scratch:
            (scratch / "program").write_text(content)
    assert (target / "program").read_text() == "second"
    assert [path.name for path in tmp_path.iterdir()] == ["tool-abc"]


def test_only_earlier_keys_of_the_same_result_are_forgotten(tmp_path: Path) -> None:
    for name in ("kube-111111111111", "kube-222222222222", "kube-proxy-333333333333", ".kube.lock"):
        (tmp_path / name).mkdir()
    forget_older(tmp_path / "kube-222222222222")
    left = {path.name for path in tmp_path.iterdir()}
    assert left == {"kube-222222222222", "kube-proxy-333333333333", ".kube.lock"}


def test_a_file_digest_is_what_sha256sum_says(tmp_path: Path) -> None:
    (tmp_path / "file").write_bytes(b"abc")
    assert file_digest(tmp_path / "file") == "ba7816bf8f01cfea414140de5dae2223b00361a396177a9cb410ff61f20015ad"


def test_a_second_process_waits_for_the_lock(tmp_path: Path) -> None:
    # The child holds the lock, says so, and writes its mark before it lets go.
    child = (
        "import pathlib, sys, time\n"
        "from deploy.kind.digests import locked\n"
        "root = pathlib.Path(sys.argv[1])\n"
        "with locked(root / 'lock'):\n"
        "    print('held', flush=True); time.sleep(0.5); (root / 'mark').write_text('done')\n"
    )
    with subprocess.Popen([sys.executable, "-c", child, str(tmp_path)], stdout=subprocess.PIPE, text=True) as holder:
        assert holder.stdout is not None
        assert holder.stdout.readline() == "held\n"
        from deploy.kind.digests import locked

        with locked(tmp_path / "lock"):
            assert (tmp_path / "mark").read_text() == "done"
