"""Getting this slot's part of a commit ready beside the trainer's directory, and moving it in once all have agreed."""

from __future__ import annotations

import contextlib
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

from holdfast.api.wire import Outcome, SidecarConfig
from holdfast.checkpoint.download import Downloader, check_paths, close_directories
from holdfast.checkpoint.errors import Refusal
from holdfast.checkpoint.manifests import Commit, CommitRef, Part
from holdfast.checkpoint.store.retrying import PatientStore
from holdfast.checkpoint.verify import read_commit, read_part
from holdfast.checkpoint.volume import Volume, open_directories, remove_tree, sync_directory
from holdfast.seams import Spawner


@dataclass(frozen=True, slots=True)
class Prepared:
    """A commit whose part of this slot is whole and verified on the volume."""

    commit: Commit
    part: Part


class Preparer:
    """Prepares parts for one slot. `expect` hears how many bytes a part has, `received` of those that arrived."""

    def __init__(
        self,
        config: SidecarConfig,
        store: PatientStore,
        spawner: Spawner,
        volume: Volume,
        expect: Callable[[int], None],
        received: Callable[[int], None],
    ) -> None:
        self._config = config
        self._store = store
        self._spawner = spawner
        self._volume = volume
        self._expect = expect
        self._downloader = Downloader(store, spawner, received)

    async def prepare(self, ref: CommitRef) -> Prepared:
        """Fetch and verify this slot's part.

        Raises `Damaged`, `Refusal` where the commit is of another shape, and OSError for what the volume refuses.
        """
        commit = await read_commit(self._store, ref)
        entry = next((part for part in commit.parts if part.slot == self._config.slot), None)
        if len(commit.parts) != self._config.parts or entry is None:
            raise Refusal(
                Outcome(
                    kind="RestoreRefused",
                    message=f"step {ref.step} was committed by {len(commit.parts)} slots and this job has "
                    f"{self._config.parts}: go back to the old number of workers and kind of volume (a shared claim "
                    "makes one part), or set restore.policy to None to start from nothing",
                    step=ref.step,
                )
            )
        part = await read_part(self._store, commit, entry)
        check_paths(part)
        self._expect(part.bytes)
        target = self._target(ref)
        await self._spawner.blocking(lambda: self._reuse(part, target))
        # What older attempts held for their uploads may be what fills the volume.
        await self._spawner.blocking(self._volume.forget_older_states)
        await self._downloader.fetch(part, target)
        return Prepared(commit, part)

    def place(self, part: Part) -> None:
        """Move a prepared part to where the trainer looks. It blocks; done twice, it ends the same."""
        source = self._target(CommitRef(run=part.run, step=part.step))
        target = self._volume.data / part.directory
        if source.exists():
            remove_tree(target)
            target.parent.mkdir(parents=True, exist_ok=True)
            source.rename(target)
            sync_directory(target.parent)
        close_directories(part, target)

    def _target(self, ref: CommitRef) -> Path:
        return self._volume.incoming / f"{ref.run}-{ref.step}"

    def _reuse(self, part: Part, target: Path) -> None:
        """Begin with a local copy of the step where there is one; what is wrong in it is fetched anew."""
        self._volume.incoming.mkdir(parents=True, exist_ok=True)
        for other in self._volume.incoming.iterdir():
            if other != target:
                remove_tree(other)
        if target.exists():
            open_directories(target)
            return
        begun = [incoming / target.name for incoming in self._volume.older_incoming()]
        saved = [data / part.directory for data in (self._volume.data, *self._volume.older_data())]
        for local in (*begun, *saved):
            if local.is_dir() and not local.is_symlink():
                open_directories(local)
                # What belongs to another user may not be ours to move.
                with contextlib.suppress(PermissionError):
                    local.rename(target)
                    return
