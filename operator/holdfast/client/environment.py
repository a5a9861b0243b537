"""What Holdfast tells a program about its place in the job, read from the environment.

Every function has an answer outside of Holdfast too, so that the same program runs on a laptop. Nothing here writes.
"""

from __future__ import annotations

import os
from pathlib import Path

CHECKPOINT_DIR = "HOLDFAST_CHECKPOINT_DIR"
RESTORED_STEP_FILE = "HOLDFAST_RESTORED_STEP_FILE"
EVERY_STEPS = "HOLDFAST_EVERY_STEPS"
ATTEMPT = "HOLDFAST_ATTEMPT"
SOCKET = "HOLDFAST_SOCKET"
SLOT = "HOLDFAST_SLOT"
LAYOUT = "HOLDFAST_LAYOUT"

DEFAULT_EVERY_STEPS = 100


class EnvironmentInvalid(ValueError):
    """A variable that Holdfast sets holds something else than what Holdfast writes; the message names it."""


def inside() -> bool:
    """Say whether this process was started by Holdfast."""
    return bool(os.environ.get(SOCKET))


def checkpoint_directory(default: str | os.PathLike[str] = "checkpoints") -> Path:
    """Return the directory to write checkpoints to: one sub-directory a step, named by the step's decimal number."""
    return Path(os.environ.get(CHECKPOINT_DIR) or default)


def restored_step() -> int | None:
    """Return the step that was put into the checkpoint directory before this program started.

    None means: begin from scratch. All hosts of a job get the same answer, so resume from exactly this step and
    never from a newer directory found by listing. Raises `EnvironmentInvalid` if the file cannot be understood:
    to begin from scratch by mistake would be worse than to stop.
    """
    path = os.environ.get(RESTORED_STEP_FILE)
    if not path:
        return None
    try:
        text = Path(path).read_text(encoding="ascii").strip()
    except FileNotFoundError as error:
        raise EnvironmentInvalid(
            f"{RESTORED_STEP_FILE}={path}: no such file; the restore step writes it before the program starts"
        ) from error
    except (OSError, UnicodeDecodeError) as error:
        raise EnvironmentInvalid(f"{RESTORED_STEP_FILE}={path} cannot be read: {error}") from error
    if not text:
        return None
    if not text.isdecimal():
        raise EnvironmentInvalid(f"{RESTORED_STEP_FILE}={path} holds {text[:40]!r}, expected a step number or nothing")
    return int(text)


def every_steps(default: int = DEFAULT_EVERY_STEPS) -> int:
    """Return how many steps lie between two checkpoints, as the job's `checkpoint.cadence` says."""
    return _positive(EVERY_STEPS, default)


def attempt() -> int:
    """Return the number of this attempt of the job, 1 outside of Holdfast."""
    return _positive(ATTEMPT, 1)


def slot() -> str:
    """Return the stable name of this worker (`<slice>-<host>`), `0-0` outside of Holdfast."""
    return os.environ.get(SLOT) or "0-0"


def shared_directory() -> bool:
    """Say whether all workers write to one checkpoint directory (`checkpoint.volume.sharedClaim`)."""
    return os.environ.get(LAYOUT) == "Shared"


def socket_path() -> str | None:
    """Return the path of the sidecar's socket, None outside of Holdfast."""
    return os.environ.get(SOCKET) or None


def _positive(name: str, default: int) -> int:
    text = os.environ.get(name)
    if not text:
        return default
    if not text.isdecimal() or int(text) < 1:
        raise EnvironmentInvalid(f"{name}={text!r}: expected a whole number of at least 1")
    return int(text)
