"""Train the digits data-parallel on all workers of the job; resumable to the last bit.

STEPS (600) is the length of the run, BATCH (120) the images a step over all workers, STEP_SLEEP (0) the seconds to
wait after each step, to stretch a demonstration. Prints one JSON object a line.
"""

from __future__ import annotations

import json
import os
import time
from typing import Any

from holdfast.client import environment, progress
from holdfast.client import jax as holdfast_jax

STEPS = int(os.environ.get("STEPS", "600"))
BATCH = int(os.environ.get("BATCH", "120"))
STEP_SLEEP = float(os.environ.get("STEP_SLEEP", "0"))
PRINT_EVERY = 20


def say(event: str, **facts: Any) -> None:
    """Print one line of the log."""
    print(json.dumps({"event": event, **facts}), flush=True)


def main() -> None:
    """Train from the restored step to the last one."""
    began = time.monotonic()
    place = holdfast_jax.initialize()

    import data
    import jax
    import model
    import numpy as np
    from jax.sharding import Mesh, NamedSharding, PartitionSpec

    from holdfast.client import orbax

    if BATCH % place.count:
        raise SystemExit(f"BATCH={BATCH} must be a multiple of the number of workers, {place.count}")
    training, test = data.load()
    mesh = Mesh(np.array(jax.devices()), ("data",))
    everywhere = NamedSharding(mesh, PartitionSpec())
    split = NamedSharding(mesh, PartitionSpec("data"))
    shape = jax.tree.map(
        lambda leaf: jax.ShapeDtypeStruct(leaf.shape, leaf.dtype, sharding=everywhere),
        jax.eval_shape(model.initial_state),
    )
    advance = jax.jit(model.advance, donate_argnums=0, out_shardings=(everywhere, everywhere))

    checkpoints = orbax.manager()
    restored = environment.restored_step()
    if restored is None:
        state = jax.jit(model.initial_state, out_shardings=everywhere)()
    else:
        state = orbax.restore(checkpoints, restored, shape)
    say("start", attempt=environment.attempt(), slot=environment.slot(), restoredStep=restored,
        workers=place.count, seconds=round(time.monotonic() - began, 2))  # fmt: skip

    coordinator = holdfast_jax.Coordinator()
    share = BATCH // place.count
    loss = None
    for step in range((restored or 0) + 1, STEPS + 1):
        rows = data.batch_rows(step - 1, BATCH)[place.number * share : (place.number + 1) * share]
        images = jax.make_array_from_process_local_data(split, training.images[rows])
        labels = jax.make_array_from_process_local_data(split, training.labels[rows])
        state, value = advance(state, images, labels)
        loss = float(value)
        progress.report(step, STEPS, loss)
        if step % PRINT_EVERY == 0 or step == 1:
            say("step", step=step, loss=round(loss, 6), attempt=environment.attempt())
        decision = coordinator.at(step)
        if (decision.save or step == STEPS) and orbax.save(checkpoints, step, state):
            say("checkpoint", step=step)
        if decision.stop:
            checkpoints.wait_until_finished()
            say("stopped", step=step)
            holdfast_jax.leave_stopped()
        if STEP_SLEEP:
            time.sleep(STEP_SLEEP)

    checkpoints.wait_until_finished()
    say("final", step=int(state["step"].addressable_data(0)), loss=loss,
        accuracy=round(model.accuracy(state["params"], test.images, test.labels), 4),
        digest=model.digest(state), seconds=round(time.monotonic() - began, 2))  # fmt: skip
    checkpoints.close()


if __name__ == "__main__":
    main()
