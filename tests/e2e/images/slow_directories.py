"""Two workers, each with a checkpoint directory of its own, save; worker 1 is slow to make its directories.

Run as `slow_directories.py DIRECTORY`: it starts both workers, and ends with 0 where both have saved all steps.
"""

from __future__ import annotations

import asyncio
import json
import os
import subprocess
import sys
from pathlib import Path
from typing import Any

STEPS = 3
TIMEOUT_S = 90
DELAY_S = 1.0


def work(directory: Path) -> None:
    """Save three steps and read the last one back."""
    from holdfast.client import jax as holdfast_jax
    from holdfast.client import orbax

    place = holdfast_jax.initialize()

    import jax
    import jax.numpy as jnp
    import numpy as np
    from jax.sharding import Mesh, NamedSharding, PartitionSpec

    if place.number == 1:
        _be_slow()
    everywhere = NamedSharding(Mesh(np.array(jax.devices()), ("data",)), PartitionSpec())
    make = jax.jit(lambda seed: {"weights": jnp.arange(4096.0).reshape(64, 64) + seed}, out_shardings=everywhere)
    manager = orbax.manager(directory / str(place.number))
    for step in range(1, STEPS + 1):
        orbax.save(manager, step, make(step))
    manager.wait_until_finished()
    like = jax.eval_shape(make, STEPS)
    like = jax.tree.map(lambda leaf: jax.ShapeDtypeStruct(leaf.shape, leaf.dtype, sharding=everywhere), like)
    found = np.asarray(orbax.restore(manager, STEPS, like)["weights"].addressable_data(0))
    equal = bool((found == np.arange(4096.0).reshape(64, 64) + STEPS).all())
    found_steps = sorted(manager.all_steps())
    line = json.dumps({"event": "saved", "worker": place.number, "steps": found_steps, "equal": equal})
    # In one piece: both workers write to the same pipe, and may do so at the same moment.
    os.write(sys.stdout.fileno(), f"{line}\n".encode())
    manager.close()


def _be_slow() -> None:
    """Let every directory of Orbax's take its time, as a network file system does now and then."""
    from orbax.checkpoint._src.path import async_path

    mkdir = async_path.mkdir

    async def slow(*arguments: Any, **more: Any) -> Any:
        await asyncio.sleep(DELAY_S)
        return await mkdir(*arguments, **more)

    async_path.mkdir = slow


def main() -> int:
    """Start both workers and wait for them."""
    directory = Path(sys.argv[1])
    if "JAX_PROCESS_ID" in os.environ:
        work(directory)
        return 0
    place = {"JAX_COORDINATOR_ADDRESS": "127.0.0.1:8476", "JAX_NUM_PROCESSES": "2"}
    workers = [
        subprocess.Popen(
            [sys.executable, __file__, str(directory)], env={**os.environ, **place, "JAX_PROCESS_ID": str(number)}
        )
        for number in range(2)
    ]
    try:
        return max(worker.wait(timeout=TIMEOUT_S) for worker in workers)
    except subprocess.TimeoutExpired:
        print(json.dumps({"event": "stands still", "found": sorted(str(path) for path in directory.rglob("*"))}))
        return 1
    finally:
        for worker in workers:
            worker.kill()


if __name__ == "__main__":
    sys.exit(main())
