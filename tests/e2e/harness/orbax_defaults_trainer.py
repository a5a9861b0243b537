"""A trainer that falls into the usual trap: Orbax with its default settings, and one checkpoint directory per host."""

from __future__ import annotations

from holdfast.client import environment
from holdfast.client import jax as holdfast_jax


def main() -> None:
    """Save once, and wait for it."""
    holdfast_jax.initialize()

    import jax
    import jax.numpy as jnp
    import numpy as np
    import orbax.checkpoint as ocp
    from jax.sharding import Mesh, NamedSharding, PartitionSpec

    everywhere = NamedSharding(Mesh(np.array(jax.devices()), ("data",)), PartitionSpec())
    state = jax.jit(lambda: {"weights": jnp.ones((64, 64))}, out_shardings=everywhere)()
    manager = ocp.CheckpointManager(environment.checkpoint_directory())
    manager.save(1, args=ocp.args.StandardSave(state))
    manager.wait_until_finished()


if __name__ == "__main__":
    main()
