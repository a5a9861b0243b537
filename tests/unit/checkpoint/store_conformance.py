"""What every object store must do, as one suite: the memory store, the adapter for Cloud Storage, a real server.

A subclass gives the `store` fixture; `tests/e2e` can do so with the bucket of a cluster. Only behaviour that the bucket
server of the test cluster gets right is asked for here.
"""

from __future__ import annotations

import asyncio
import os
from pathlib import Path

import pytest

from holdfast.checkpoint.hashing import PIECE, HashingReader, crc32c
from holdfast.seams import Folder, ObjectMissing, ObjectStore, PreconditionFailed


class StoreConformance:
    """Inherit, and provide the fixture `store`."""

    async def test_an_object_comes_back_as_it_was_written(self, store: ObjectStore) -> None:
        written = await store.put("folder/one.json", b"content")
        data, read = await store.get("folder/one.json")
        assert data == b"content"
        assert (read.name, read.size, read.crc32c) == ("folder/one.json", 7, crc32c(b"content"))
        assert read.generation == written.generation > 0

    async def test_an_empty_object_is_an_object(self, store: ObjectStore, tmp_path: Path) -> None:
        await store.put("empty", b"")
        assert (await store.get("empty"))[0] == b""
        (tmp_path / "empty").touch()
        with HashingReader(tmp_path / "empty") as source:
            info = await store.put_stream("empty-stream", source, 0, if_generation=0)
        assert (info.size, info.crc32c) == (0, 0)

    async def test_generation_0_creates_once(self, store: ObjectStore) -> None:
        await store.put("once", b"first", if_generation=0)
        with pytest.raises(PreconditionFailed):
            await store.put("once", b"second", if_generation=0)
        assert (await store.get("once"))[0] == b"first"

    async def test_of_many_creators_one_wins(self, store: ObjectStore) -> None:
        answers = await asyncio.gather(
            *(store.put("race", f"writer {number}".encode(), if_generation=0) for number in range(8)),
            return_exceptions=True,
        )
        winners = [number for number, answer in enumerate(answers) if not isinstance(answer, BaseException)]
        assert len(winners) == 1
        assert all(isinstance(answer, PreconditionFailed) for answer in answers if isinstance(answer, BaseException))
        assert (await store.get("race"))[0] == f"writer {winners[0]}".encode()

    async def test_a_generation_guards_a_replacement(self, store: ObjectStore) -> None:
        first = await store.put("owner", b"first")
        second = await store.put("owner", b"second", if_generation=first.generation)
        assert second.generation != first.generation
        with pytest.raises(PreconditionFailed):
            await store.put("owner", b"third", if_generation=first.generation)
        with pytest.raises(ObjectMissing):
            await store.get("owner", generation=first.generation)
        assert (await store.get("owner", generation=second.generation))[0] == b"second"

    async def test_what_is_not_there_is_missing(self, store: ObjectStore) -> None:
        with pytest.raises(ObjectMissing):
            await store.get("nowhere")
        with pytest.raises(ObjectMissing):
            await store.get_stream("nowhere", lambda piece: None)

    async def test_deleting_is_repeatable(self, store: ObjectStore) -> None:
        info = await store.put("gone", b"x")
        await store.delete("gone", generation=info.generation)
        await store.delete("gone", generation=info.generation)
        await store.delete("gone")
        assert await store.list("gone") == []

    async def test_a_list_is_complete_sorted_and_current(self, store: ObjectStore) -> None:
        names = [f"many/{number:04d}" for number in range(120)]
        for name in reversed(names):
            await store.put(name, name.encode())
        await store.put("many-not", b"")
        listed = await store.list("many/")
        assert [info.name for info in listed] == names
        assert [info.crc32c for info in listed] == [crc32c(name.encode()) for name in names]
        assert listed[7].size == len(names[7])
        assert (await store.get(names[7], generation=listed[7].generation))[0] == names[7].encode()
        await store.delete(names[3])
        assert len(await store.list("many/")) == 119

    async def test_a_folder_shows_one_level(self, store: ObjectStore) -> None:
        for name in ("top.json", "tree/a.json", "tree/b/c.json", "tree/b/d/e.json", "tree/z/f", "tree-not/g"):
            await store.put(name, name.encode())
        seen = await store.list_folder("tree/")
        assert [info.name for info in seen.objects] == ["tree/a.json"]
        assert seen.folders == ("tree/b/", "tree/z/")
        (info,) = seen.objects
        assert (info.size, info.crc32c) == (11, crc32c(b"tree/a.json"))
        assert (await store.get(info.name, generation=info.generation))[0] == b"tree/a.json"
        deeper = await store.list_folder("tree/b/")
        assert ([info.name for info in deeper.objects], deeper.folders) == (["tree/b/c.json"], ("tree/b/d/",))

    async def test_a_folder_without_objects_is_empty(self, store: ObjectStore) -> None:
        assert await store.list_folder("nothing/") == Folder((), ())
        await store.put("was/there/once", b"")
        await store.delete("was/there/once")
        assert await store.list_folder("was/") == Folder((), ())

    async def test_a_folder_is_complete_over_many_pages(self, store: ObjectStore) -> None:
        for number in range(70):
            await store.put(f"wide/{number:04d}/object", b"")
            await store.put(f"wide/{number:04d}.json", b"")
        seen = await store.list_folder("wide/")
        assert [info.name for info in seen.objects] == [f"wide/{number:04d}.json" for number in range(70)]
        assert seen.folders == tuple(f"wide/{number:04d}/" for number in range(70))

    async def test_a_stream_is_written_once_and_read_in_pieces(self, store: ObjectStore, tmp_path: Path) -> None:
        content = os.urandom(3 * PIECE + 17)
        (tmp_path / "file").write_bytes(content)
        seen: list[int] = []
        with HashingReader(tmp_path / "file") as source:
            info = await store.put_stream("big", source, len(content), if_generation=0, progress=seen.append)
            assert source.digest.crc32c == info.crc32c == crc32c(content)
            with pytest.raises(PreconditionFailed):
                await store.put_stream("big", source, len(content), if_generation=0)
        assert seen == sorted(seen)
        assert seen[-1] == len(content)
        pieces: list[bytes] = []
        read = await store.get_stream("big", pieces.append, generation=info.generation)
        assert b"".join(pieces) == content
        assert len(pieces) > 1
        assert (read.size, read.crc32c) == (len(content), crc32c(content))

    async def test_odd_names_are_kept(self, store: ObjectStore) -> None:
        names = ["odd/with space", "odd/ünïcode", "odd/a+b=c&d", "odd/%41", "odd/deep/er/still"]
        for name in names:
            await store.put(name, name.encode(), if_generation=0)
        assert sorted(info.name for info in await store.list("odd/")) == sorted(names)
        for name in names:
            assert (await store.get(name))[0] == name.encode()
            await store.delete(name)
        assert await store.list("odd/") == []
