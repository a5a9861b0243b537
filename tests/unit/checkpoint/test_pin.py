"""Holding a step, and what makes that fail."""

from __future__ import annotations

import os
import shutil
from pathlib import Path
from typing import Any

import msgspec
import pytest

from holdfast.checkpoint.detect import Found
from holdfast.checkpoint.errors import TornRead, Unsupported, Vanished
from holdfast.checkpoint.journal import Journal
from holdfast.checkpoint.manifests import FileEntry
from holdfast.checkpoint.pin import Pin, PinnedFile, check, pin, recover
from tests.support.gang import write_step

FOUND = Found(100, "100", "Orbax", "Explicit")


@pytest.fixture
def data(tmp_path: Path) -> Path:
    (tmp_path / "data").mkdir()
    write_step(tmp_path / "data", 100, "x")
    return tmp_path / "data"


@pytest.fixture
def pins(tmp_path: Path) -> Path:
    return tmp_path / "pins"


def file_of(held: Pin, path: str) -> PinnedFile:
    return next(file for file in held.record.files if file.path == path)


def test_links_hold_the_content_when_the_step_is_gone_and_in_the_next_life(data: Path, pins: Path) -> None:
    content = (data / "100/state/d/array").read_bytes()
    held = pin(FOUND, data, pins)
    assert held.record.linked
    shutil.rmtree(data / "100")
    (again,) = recover(pins)
    assert again.record == held.record
    descriptor = again.open(file_of(again, "state/d/array"))
    assert os.read(descriptor, 10_000) == content
    os.close(descriptor)
    again.release()
    assert list(pins.iterdir()) == []


def test_what_was_half_held_in_an_earlier_life_is_removed(data: Path, pins: Path) -> None:
    held = pin(FOUND, data, pins)
    (held.root / "pin.json").unlink()
    assert recover(pins) == []
    assert list(pins.iterdir()) == []
    assert recover(pins / "nowhere") == []


def test_writing_in_place_is_noticed_before_and_after_reading(data: Path, pins: Path) -> None:
    held = pin(FOUND, data, pins)
    file = file_of(held, "state/d/array")
    descriptor = held.open(file)
    check(file, descriptor)
    with (data / "100/state/d/array").open("r+b") as writer:
        writer.write(b"x")
    with pytest.raises(TornRead, match="state/d/array changed"):
        check(file, descriptor)
    os.close(descriptor)
    with pytest.raises(TornRead):
        held.open(file)


@pytest.mark.parametrize("links", [True, False])
def test_a_change_while_the_step_is_being_held_is_noticed(
    data: Path, pins: Path, links: bool, monkeypatch: pytest.MonkeyPatch
) -> None:
    real = os.link
    opened = len(list(Path("/proc/self/fd").iterdir()))

    def link(source: Path, target: Path, **options: Any) -> None:
        if not links:
            raise PermissionError(1, "Operation not permitted")
        real(source, target, **options)
        if source.name == "array":
            replacement = source.with_name("new")
            replacement.write_bytes(b"another file under the same name")
            replacement.rename(source)

    monkeypatch.setattr("os.link", link)
    if links:
        with pytest.raises(TornRead):
            pin(FOUND, data, pins)
        assert list(pins.iterdir()) == []
    else:
        held = pin(FOUND, data, pins)
        assert not held.record.linked
        assert len(list(Path("/proc/self/fd").iterdir())) > opened
        held.release()
    assert len(list(Path("/proc/self/fd").iterdir())) == opened


def test_links_that_stop_working_halfway_are_replaced_by_descriptors(
    data: Path, pins: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    real = os.link
    calls = 0

    def link(source: Path, target: Path, **options: Any) -> None:
        nonlocal calls
        calls += 1
        if calls > 2:
            raise OSError(31, "Too many links")
        real(source, target, **options)

    monkeypatch.setattr("os.link", link)
    held = pin(FOUND, data, pins)
    expected = {file.path: (data / "100" / file.path).read_bytes() for file in held.record.files}
    shutil.rmtree(data / "100")
    assert set(held.descriptors) == set(expected)
    for file in held.record.files:
        descriptor = held.open(file)
        assert os.read(descriptor, 10_000) == expected[file.path]
        os.close(descriptor)
    held.release()


def test_a_step_that_goes_while_it_is_being_held_has_vanished(
    data: Path, pins: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    real = os.link

    def link(source: Path, target: Path, **options: Any) -> None:
        real(source, target, **options)
        shutil.rmtree(data / "100", ignore_errors=True)

    monkeypatch.setattr("os.link", link)
    with pytest.raises(Vanished, match="step 100 was removed"):
        pin(FOUND, data, pins)
    assert list(pins.iterdir()) == []


def test_names_that_are_not_text_are_refused(data: Path, pins: Path) -> None:
    with Path(os.fsdecode(os.fsencode(data / "100") + b"/\xff\xfe")).open("wb"):
        pass
    with pytest.raises(Unsupported, match="not valid UTF-8: rename it"):
        pin(FOUND, data, pins)


def test_other_errors_of_the_volume_are_raised_as_they_are(
    data: Path, pins: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def link(*_: object, **__: object) -> None:
        raise OSError(5, "Input/output error")

    monkeypatch.setattr("os.link", link)
    with pytest.raises(OSError, match="Input/output error"):
        pin(FOUND, data, pins)


def entry_for(file: PinnedFile) -> FileEntry:
    return FileEntry(
        path=file.path,
        size=file.size,
        mode=file.mode,
        uid=file.uid,
        gid=file.gid,
        mtime_ns=file.mtime_ns,
        crc32c=1,
        blake3="b",
        object="o",
        generation=9,
    )


def test_a_journal_believes_only_in_the_same_file_and_whole_lines(data: Path, pins: Path, tmp_path: Path) -> None:
    held = pin(FOUND, data, pins)
    array, zero = file_of(held, "state/d/array"), file_of(held, "zero")
    journal = Journal(tmp_path / "journal", 1, 100)
    journal.load()
    journal.add(array, entry_for(array))
    journal.add(zero, entry_for(zero))
    (path,) = (tmp_path / "journal").iterdir()
    path.write_bytes(path.read_bytes()[:-20])
    later = Journal(tmp_path / "journal", 1, 100)
    later.load()
    assert later.find(array) == entry_for(array)
    assert later.find(zero) is None
    for changed in ({"inode": 1}, {"size": 1}, {"mtime_ns": 1}):
        assert later.find(msgspec.structs.replace(array, **changed)) is None
    later.discard()
    later.discard()
    assert list((tmp_path / "journal").iterdir()) == []


@pytest.mark.parametrize("change", ["added", "removed"])
def test_a_step_that_gets_or_loses_entries_while_it_is_held_is_torn(
    data: Path, pins: Path, monkeypatch: pytest.MonkeyPatch, change: str
) -> None:
    link = os.link

    def meanwhile(source: Path, *rest: Any, **more: Any) -> None:
        if Path(source).name == "zero":
            # The last entry is held: all others have been taken in.
            if change == "added":
                (data / "100/state/late").touch()
            else:
                (data / "100/empty").rmdir()
        link(source, *rest, **more)

    monkeypatch.setattr("os.link", meanwhile)
    with pytest.raises((TornRead, Vanished)):
        pin(FOUND, data, pins)
    assert list(pins.iterdir()) == []
