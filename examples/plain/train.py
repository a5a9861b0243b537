"""A trainer without any library: fit a parabola by gradient descent, with checkpoints as plain directories.

It shows the whole contract for a program in any language. Each step's state goes to `<checkpoint directory>/<step>/`;
when everything in it is durable, the empty file `.holdfast-complete` says so. After a restart the step to go on from
is in the file that HOLDFAST_RESTORED_STEP_FILE names; an empty file means from scratch.

STEPS (400), STEP_SLEEP (0.05 s) and EXIT_CODE (0) are knobs for trying things out.
"""

import json
import os
import shutil
import signal
import sys
import time
from pathlib import Path

STEPS = int(os.environ.get("STEPS", "400"))
STEP_SLEEP = float(os.environ.get("STEP_SLEEP", "0.05"))
EXIT_CODE = int(os.environ.get("EXIT_CODE", "0"))
EVERY = int(os.environ.get("HOLDFAST_EVERY_STEPS", "100"))
DIRECTORY = Path(os.environ.get("HOLDFAST_CHECKPOINT_DIR", "checkpoints"))
KEEP = 2

POINTS = [(x / 10, 3 * (x / 10) ** 2 - 2 * (x / 10) + 1) for x in range(-10, 11)]


def restored_step() -> int:
    path = os.environ.get("HOLDFAST_RESTORED_STEP_FILE")
    return int(Path(path).read_text().strip() or 0) if path else 0


def sync(path: Path) -> None:
    """Make a file's content durable, or the names in a directory."""
    descriptor = os.open(path, os.O_RDONLY)
    try:
        os.fsync(descriptor)
    finally:
        os.close(descriptor)


def write(target: Path, text: str) -> None:
    """Write a file that is there whole or not at all, whenever the machine stops."""
    temporary = target.with_name(f"{target.name}.tmp")
    temporary.write_text(text)
    sync(temporary)
    temporary.replace(target)
    sync(target.parent)


def save(step: int, weights: list[float]) -> None:
    target = DIRECTORY / str(step)
    target.mkdir(parents=True)
    sync(DIRECTORY)
    write(target / "weights.json", json.dumps(weights))
    write(target / ".holdfast-complete", "")  # last: everything else is durable by now
    for older in sorted((int(p.name) for p in DIRECTORY.iterdir() if p.name.isdigit()), reverse=True)[KEEP:]:
        shutil.rmtree(DIRECTORY / str(older))


def advance(weights: list[float]) -> tuple[list[float], float]:
    errors = [(weights[0] * x * x + weights[1] * x + weights[2] - y, x) for x, y in POINTS]
    loss = sum(error * error for error, _ in errors) / len(errors)
    slopes = [2 * sum(error * x**power for error, x in errors) / len(errors) for power in (2, 1, 0)]
    return [weight - 0.3 * slope for weight, slope in zip(weights, slopes, strict=True)], loss


def main() -> None:
    # Process 1 of a container ignores SIGTERM unless it has a handler.
    signal.signal(signal.SIGTERM, lambda _number, _frame: sys.exit(143))
    start = restored_step()
    weights = json.loads((DIRECTORY / str(start) / "weights.json").read_text()) if start else [0.0, 0.0, 0.0]
    print(json.dumps({"event": "start", "restoredStep": start or None}), flush=True)
    loss = 0.0
    for step in range(start + 1, STEPS + 1):
        weights, loss = advance(weights)
        if step % EVERY == 0 or step == STEPS:
            save(step, weights)
            print(json.dumps({"event": "checkpoint", "step": step, "loss": loss}), flush=True)
        time.sleep(STEP_SLEEP)
    print(json.dumps({"event": "final", "step": STEPS, "loss": loss, "weights": weights}), flush=True)
    sys.exit(EXIT_CODE)


if __name__ == "__main__":
    main()
