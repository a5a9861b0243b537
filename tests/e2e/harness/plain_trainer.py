"""A trainer of a few milliseconds a step whose state can be foretold: each state is the hash of the one before.

It runs in pods, as a script from a config map, with the standard library alone (and `holdfast.client` where CLIENT is
set); the tests import `state_after` to know what a run must end with. Prints one JSON object a line. Knobs:

STEPS (60) and STEP_SECONDS (0.1): the length of the run. SAVE_EVERY: steps between checkpoints, else the job's cadence;
the last step is always saved. SIZE (1000): bytes of a checkpoint.
TERM: what SIGTERM does, `leave` (the default) or `ignore`. EXIT_CODE (0): how it ends. LINGER (0): seconds between the
last save and the end.
FAIL_AT: the step after which attempt FAIL_ATTEMPT (1) ends with FAIL_CODE (1), or, with FAIL_BY=memory, takes memory
until it is killed. STALL_AT: the step after which nothing happens any more, in attempt STALL_ATTEMPT (every one).
CLIENT=1: report progress and take checkpoints on request through the client library.
WRITER: the slot that alone saves, where all workers share one directory. The others may find newer steps there when
they begin, since the writer need not wait for them.
"""

from __future__ import annotations

import hashlib
import json
import os
import signal
import sys
import time
from pathlib import Path

MARKER = ".holdfast-complete"
_PIECE = 1 << 20


def state_after(steps: int, state: str = "") -> str:
    """Return the state after that many steps from the beginning."""
    for step in range(1, steps + 1):
        state = advanced(state, step)
    return state


def advanced(state: str, step: int) -> str:
    """Return the state after one more step."""
    return hashlib.sha256(f"{state}:{step}".encode()).hexdigest()


def payload(step: int, size: int) -> bytes:
    """Return `size` bytes that depend on the step and do not compress."""
    return hashlib.shake_256(f"payload {step}".encode()).digest(size)


def say(event: str, **facts: object) -> None:
    """Print one line of the log."""
    print(json.dumps({"event": event, **facts}), flush=True)


def number(name: str, default: float) -> float:
    """Return a number from the environment."""
    return float(os.environ.get(name) or default)


def save(directory: Path, step: int, state: str, size: int) -> None:
    """Write one checkpoint: the files, made durable, then the marker."""
    target = directory / str(step)
    target.mkdir()
    content = payload(step, size)
    facts = {"step": step, "state": state, "payload": hashlib.sha256(content).hexdigest()}
    for name, data in (("payload.bin", content), ("state.json", json.dumps(facts).encode())):
        with (target / name).open("wb") as file:
            for start in range(0, len(data), _PIECE):
                file.write(data[start : start + _PIECE])
            file.flush()
            os.fsync(file.fileno())
    (target / MARKER).touch()
    say("checkpoint", step=step)


def load(directory: Path, step: int) -> str:
    """Return the state of a checkpoint after a look at every byte of it; ends the program where one is wrong."""
    target = directory / str(step)
    facts = json.loads((target / "state.json").read_bytes())
    content = (target / "payload.bin").read_bytes()
    if facts["step"] != step or hashlib.sha256(content).hexdigest() != facts["payload"]:
        raise SystemExit(f"checkpoint {step} is not what was saved")
    if not writes():
        return str(facts["state"])
    newer = [entry.name for entry in directory.iterdir() if entry.name.isdecimal() and int(entry.name) > step]
    if newer:
        raise SystemExit(f"steps {newer} are newer than the restored step {step}")
    return str(facts["state"])


def filesystem(directory: Path) -> str:
    """Return the type of the file system that is mounted at a directory, empty where none is."""
    mounts = [line.split() for line in Path("/proc/self/mounts").read_text().splitlines()]
    return next((fields[2] for fields in reversed(mounts) if fields[1] == str(directory)), "")


def writes() -> bool:
    """Whether this worker saves checkpoints."""
    return os.environ.get("WRITER") in (None, "", os.environ["HOLDFAST_SLOT"])


def fail() -> None:
    """End as the knobs say."""
    if os.environ.get("FAIL_BY") == "memory":
        hoard = []
        while True:
            # Written to, because untouched pages cost nothing.
            hoard.append(b"\x01" * (8 << 20))
    say("failing")
    sys.exit(int(number("FAIL_CODE", 1)))


def handle_sigterm() -> None:
    """Decide what SIGTERM does; as process 1, a program that does not is deaf to it."""
    if os.environ.get("TERM") == "ignore":
        signal.signal(signal.SIGTERM, signal.SIG_IGN)
    else:
        signal.signal(signal.SIGTERM, lambda *_: os._exit(143))


def main() -> None:
    """Train from the restored step to the last one."""
    handle_sigterm()
    directory = Path(os.environ["HOLDFAST_CHECKPOINT_DIR"])
    attempt = int(os.environ["HOLDFAST_ATTEMPT"])
    told = Path(os.environ["HOLDFAST_RESTORED_STEP_FILE"]).read_text().strip()
    restored = int(told) if told else None
    state = load(directory, restored) if restored is not None else ""
    kind = filesystem(directory)
    say("start", attempt=attempt, slot=os.environ["HOLDFAST_SLOT"], restoredStep=restored, state=state, filesystem=kind)
    steps, every = int(number("STEPS", 60)), int(number("SAVE_EVERY", number("HOLDFAST_EVERY_STEPS", 100)))
    size, pause = int(number("SIZE", 1000)), number("STEP_SECONDS", 0.1)
    fail_at = int(number("FAIL_AT", 0)) if attempt == int(number("FAIL_ATTEMPT", 1)) else 0
    stall_at = int(number("STALL_AT", 0)) if attempt == int(number("STALL_ATTEMPT", attempt)) else 0
    client = os.environ.get("CLIENT") == "1"
    for step in range((restored or 0) + 1, steps + 1):
        time.sleep(pause)
        state = advanced(state, step)
        wanted = step % every == 0 or step == steps
        if client:
            wanted = _reported(step, steps) or wanted
        if wanted and writes():
            save(directory, step, state, size)
        say("step", step=step)
        if step == fail_at:
            fail()
        while step == stall_at:
            time.sleep(1)
    say("final", step=steps, state=state, attempt=attempt)
    time.sleep(number("LINGER", 0))
    sys.exit(int(number("EXIT_CODE", 0)))


def _reported(step: int, steps: int) -> bool:
    """Report progress; whether a checkpoint was asked for."""
    from holdfast.client import checkpoint, progress

    progress.report(step, steps, loss=1 / step)
    request = checkpoint.requested()
    if request is not None:
        checkpoint.served(request)
    return request is not None


if __name__ == "__main__":
    main()
