"""Steps that the trainer declares in words, in directories of any name, used once or again and again."""

from __future__ import annotations

from pathlib import Path

from holdfast.checkpoint import layout
from tests.support.bucket import Hook
from tests.support.gang import Gang

SHARDS = 6


async def started(root: Path) -> Gang:
    gang = Gang(root, parts=1)
    gang.begin(1)
    await gang.restore()
    return gang


def fill(directory: Path, content: bytes, shards: int = SHARDS) -> None:
    """Write the first `shards` files in place."""
    directory.mkdir(exist_ok=True)
    for number in range(shards):
        (directory / f"shard{number}").write_bytes(content * 20_000)


def sent(gang: Gang, step: int) -> set[bytes]:
    """Return which contents the bucket holds of a step."""
    folder = layout.data_folder(1, step, "0-0")
    return {gang.bucket.objects[name].data[:1] for name in gang.bucket.names(folder)}


def overwrite_during_upload(gang: Gang, directory: Path, shards: int) -> None:
    """Let the trainer begin its next save in the same directory once the first file is in the bucket."""
    begun = False

    async def after(verb: str, name: str) -> None:
        nonlocal begun
        if "/data/" in name and not begun:
            begun = True
            fill(directory, b"3", shards)

    gang.stores["0-0"].faults = Hook(on_after=after)


async def test_a_directory_that_is_written_to_again_is_never_committed_as_a_mixture(tmp_path: Path) -> None:
    gang = await started(tmp_path)
    keeper, latest = gang.keepers["0-0"], gang.data("0-0") / "latest"
    fill(latest, b"1")
    await gang.run(keeper.declare(100, "latest"))
    # The trainer dies in the middle of its next save.
    overwrite_during_upload(gang, latest, shards=5)
    await gang.settle()
    assert gang.commits() == []
    assert (keeper.state.last_complete, keeper.state.health.reason) == (100, "CheckpointChanges")
    reborn = gang.keeper("0-0")
    await gang.settle()
    assert gang.commits() == []
    fill(latest, b"3")
    await gang.run(reborn.declare(200, "latest"))
    await gang.settle()
    assert [layout.parse_commit(name) for name in gang.commits()] == [(1, 200)]
    assert sent(gang, 200) == {b"3"}
    assert reborn.state.health.healthy


async def test_a_new_word_about_a_directory_replaces_the_older_one(tmp_path: Path) -> None:
    gang = await started(tmp_path)
    latest = gang.data("0-0") / "latest"
    fill(latest, b"1")
    await gang.run(gang.keepers["0-0"].declare(100, "latest"))
    fill(latest, b"2")
    await gang.run(gang.keepers["0-0"].declare(200, "latest"))
    reborn = gang.keeper("0-0")
    # A client repeats to a restarted sidecar what it had declared.
    await gang.run(reborn.declare(100, "latest"))
    await gang.run(reborn.declare(200, "latest"))
    await gang.settle()
    assert [layout.parse_commit(name) for name in gang.commits()] == [(1, 200)]
    assert sent(gang, 200) == {b"2"}
    await gang.run(reborn.declare(200, "latest"))
    await gang.settle()
    assert reborn.state.committed == 200


async def test_the_restored_directory_counts_where_it_is_declared_anew(tmp_path: Path) -> None:
    gang = await started(tmp_path)
    fill(gang.data("0-0") / "latest", b"1")
    await gang.run(gang.keepers["0-0"].declare(100, "latest"))
    await gang.settle()
    gang.begin(2)
    assert (await gang.restore())["0-0"].step == 100
    await gang.settle()
    assert gang.keepers["0-0"].state.last_complete is None
    fill(gang.data("0-0") / "latest", b"2")
    await gang.run(gang.keepers["0-0"].declare(200, "latest"))
    outcome = await gang.run(gang.keepers["0-0"].finish())
    assert (outcome.kind, outcome.last_complete, outcome.committed) == ("Finished", 200, 200)


async def test_what_is_committed_needs_no_declaration_any_more(tmp_path: Path) -> None:
    gang = await started(tmp_path)
    for step in range(100, 2100, 100):
        fill(gang.data("0-0") / f"save-{step}", b"1", shards=1)
        await gang.run(gang.keepers["0-0"].declare(step, f"save-{step}"))
        await gang.settle()
    assert gang.keepers["0-0"].state.committed == 2000
    assert (gang.volumes["0-0"] / "state/0-0/1/told.json").read_bytes() == b'{"steps":{"2000":"save-2000"}}'
