"""The job's volume as the data path sees it.

    data/<attempt>/           the trainer's mount in that attempt, so that a survivor of an older one writes elsewhere
    state/owner.json          the job that all of this belongs to
    former-<number>/          what a former job left, while it is being removed
    state/<slot>/<attempt>/   the sidecar's own, for the same reason:
        run.json              what the restore step decided: the run, and the step that was restored
        incoming/             a restored step on its way into data/
        pins/                 hard links that keep a complete step's files while they are uploaded
        journal/              what of a step is in the bucket already
        told.json             the steps that the trainer declared complete over the socket

A volume may outlive its pod, and one that all hosts share may outlive its job. Nobody ever touches what belongs to a
newer attempt or to a newer job.

All calls here block and are short; larger trees are handed to the spawner by the callers.
"""

from __future__ import annotations

import contextlib
import errno
import itertools
import logging
import os
import shutil
import stat
from pathlib import Path
from typing import Final, TypeVar

import msgspec

from holdfast.api.wire import Commit

S = TypeVar("S", bound=msgspec.Struct)

log = logging.getLogger(__name__)

_REMOVE_ATTEMPTS: Final = 5
_FORMER: Final = "former-"
# What the file system answers where somebody goes on writing into a tree that is being removed.
_STILL_USED: Final = (errno.ENOTEMPTY, errno.EEXIST, errno.EBUSY, errno.ESTALE)


class VolumeOwner(msgspec.Struct, frozen=True, kw_only=True, rename="camel"):
    """The job that a volume belongs to. Jobs are ordered by their time of creation, as in the bucket."""

    job_created: str
    job_uid: str

    def newer_than(self, other: VolumeOwner) -> bool:
        """Say whether this job takes over from the other one."""
        return (self.job_created, self.job_uid) > (other.job_created, other.job_uid)


class RunState(msgspec.Struct, frozen=True, kw_only=True, rename="camel"):
    """What restore hands over to the sidecar. `run` 0 means that the job has no bucket.

    `restored` is the commit that was brought onto the volume and `directory` its directory below the trainer's mount;
    `placed` says that all of restore is done, so that it does nothing when it is run again in the same pod.
    """

    job_uid: str
    attempt: int
    run: int = 0
    round: int | None = None
    restored: Commit | None = None
    directory: str = ""
    placed: bool = False


class Volume:
    """Paths and small files of one slot on one volume."""

    def __init__(self, root: Path, slot: str, attempt: int) -> None:
        self.root = root
        self.attempt = attempt
        self.data = root / "data" / str(attempt)
        self.states = root / "state" / slot
        self.state = self.states / str(attempt)
        self.incoming = self.state / "incoming"
        self.pins = self.state / "pins"
        self.journal = self.state / "journal"
        self.told = self.state / "told.json"
        self._run_state = self.state / "run.json"
        self._owner = root / "state" / "owner.json"

    def take_over(self, mine: VolumeOwner) -> VolumeOwner | None:
        """Make the volume this job's, rid of what a former one left there; return a newer job that has it, or None."""
        owner = read_state(self._owner, VolumeOwner)
        if owner == mine:
            return None
        if owner is not None and owner.newer_than(mine):
            return owner
        # Moved away before it is removed: a pod of the former job that still writes there holds nobody up.
        aside = next(path for number in itertools.count(1) if not (path := self.root / f"{_FORMER}{number}").exists())
        for name in ("data", "state"):
            if (self.root / name).exists():
                aside.mkdir(exist_ok=True)
                (self.root / name).rename(aside / name)
        write_file(self._owner, msgspec.json.encode(mine))
        for path in self.root.glob(f"{_FORMER}*"):
            _remove_unless_used(path)
        return None

    def prepare(self) -> None:
        """Create the directories. The trainer's own is open to all where restore is root and cannot know its user."""
        self.data.mkdir(parents=True, exist_ok=True)
        self.state.mkdir(parents=True, exist_ok=True)
        if os.geteuid() == 0:
            self.data.chmod(0o777)

    def older_data(self) -> list[Path]:
        """Return the data directories of older attempts, newest first."""
        return _older(self.root / "data", self.attempt)

    def older_incoming(self) -> list[Path]:
        """Return where the restore steps of older attempts of this slot were fetching to, newest first."""
        return [state / "incoming" for state in _older(self.states, self.attempt)]

    def load_run(self, job_uid: str) -> RunState | None:
        """Return what restore decided for this attempt of this job, or None where it did not get that far."""
        state = read_state(self._run_state, RunState)
        return state if state is not None and (state.job_uid, state.attempt) == (job_uid, self.attempt) else None

    def save_run(self, state: RunState) -> None:
        """Record what restore decided."""
        write_file(self._run_state, msgspec.json.encode(state))

    def forget_older(self, *, data: bool) -> None:
        """Remove what this slot's older attempts left and, with `data`, what their trainers wrote.

        Where one of them still writes there, the rest of it is left to the next attempt.
        """
        for path in [*(self.older_data() if data else ()), self.incoming]:
            _remove_unless_used(path)
        self.forget_older_states()

    def forget_older_states(self) -> None:
        """Remove what this slot's older attempts remembered. Their pins take room, and nobody will upload them."""
        for path in _older(self.states, self.attempt):
            _remove_unless_used(path)


def _remove_unless_used(path: Path) -> None:
    try:
        remove_tree(path)
    except OSError as error:
        if error.errno not in _STILL_USED:
            raise
        log.warning("checkpoint.older_attempt_writes", extra={"path": str(path), "error": str(error)})


def _older(parent: Path, attempt: int) -> list[Path]:
    """Return the directories of the attempts before this one, newest first."""
    numbered = [path for path in parent.iterdir() if path.name.isdigit() and int(path.name) < attempt]
    return sorted(numbered, key=lambda path: int(path.name), reverse=True)


def read_state(path: Path, kind: type[S]) -> S | None:
    """Return a state file, or None where there is none or a crash of the machine left it unreadable."""
    try:
        return msgspec.json.decode(path.read_bytes(), type=kind)
    except (FileNotFoundError, msgspec.DecodeError):
        return None


def write_file(path: Path, data: bytes) -> None:
    """Write a file so that a reader and a crash see either the old content or all of the new."""
    path.parent.mkdir(parents=True, exist_ok=True)
    temporary = path.with_name(path.name + ".new")
    with temporary.open("wb") as file:
        file.write(data)
        file.flush()
        os.fsync(file.fileno())
    temporary.replace(path)
    sync_directory(path.parent)


def sync_directory(path: Path) -> None:
    """Make the names in a directory durable."""
    descriptor = os.open(path, os.O_RDONLY | os.O_DIRECTORY)
    try:
        os.fsync(descriptor)
    finally:
        os.close(descriptor)


def remove_tree(path: Path) -> None:
    """Remove a directory with all it holds; one that is not there counts as removed. Raises OSError.

    Something inside may vanish meanwhile, as a trainer of an older attempt may still be tidying up.
    """
    for _ in range(_REMOVE_ATTEMPTS):
        try:
            shutil.rmtree(path)
        except FileNotFoundError:
            pass
        except PermissionError:
            open_directories(path)
        if not path.exists():
            return
    shutil.rmtree(path)


def open_directories(path: Path) -> None:
    """Let the owner read, write and enter all directories of a tree, as far as that is permitted.

    Only root may fill, empty or move a directory that its owner has closed. Raises OSError.
    """
    _open_directory(path)
    for root, directories, _ in os.walk(path):
        for name in directories:
            _open_directory(Path(root) / name)


def _open_directory(path: Path) -> None:
    with contextlib.suppress(PermissionError, FileNotFoundError):
        mode = path.lstat().st_mode
        if stat.S_ISDIR(mode) and mode & stat.S_IRWXU != stat.S_IRWXU:
            path.chmod(stat.S_IMODE(mode) | stat.S_IRWXU)
