"""What a container leaves behind: its termination message, and for the trainer the restored step."""

from __future__ import annotations

from pathlib import Path
from typing import Final

import msgspec

from holdfast.api import wire

# The kubelet cuts longer messages off, which would leave broken JSON
# (kubernetes.io/docs/tasks/debug/debug-application/determine-reason-pod-failure).
LIMIT: Final = 4096
_MESSAGE_LIMIT: Final = 1024

EXIT_CODES: Final[dict[wire.OutcomeKind, int]] = {
    "Restored": 0,
    "Finished": 0,
    "Superseded": wire.EXIT_SUPERSEDED,
    "PrefixTaken": wire.EXIT_PREFIX_TAKEN,
    "NoRestorableCheckpoint": wire.EXIT_NO_RESTORABLE,
    "RestoreRefused": wire.EXIT_REFUSED,
    "Interrupted": 1,
}


def fitted(outcome: wire.Outcome) -> bytes:
    """Return the outcome as JSON of at most `LIMIT` bytes: a long message is cut, and the oldest damages left out."""
    if len(outcome.message) > _MESSAGE_LIMIT:
        outcome = msgspec.structs.replace(outcome, message=outcome.message[: _MESSAGE_LIMIT - 1] + "…")
    while len(data := wire.encode(outcome)) > LIMIT and outcome.damages:
        outcome = msgspec.structs.replace(outcome, damages=outcome.damages[1:])
    if len(data) > LIMIT:
        # Only characters that need many bytes can bring it here.
        outcome = msgspec.structs.replace(outcome, message=outcome.message[: _MESSAGE_LIMIT // 8])
        data = wire.encode(outcome)
    return data


def leave(path: Path, outcome: wire.Outcome) -> None:
    """Write the termination message. It may be written again: the last one counts."""
    # Not by a rename: the kubelet mounts this one file.
    path.write_bytes(fitted(outcome))


def tell_step(path: Path, step: int | None) -> None:
    """Tell the trainer the restored step: a decimal number, or nothing where it starts from the beginning."""
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text("" if step is None else str(step))
