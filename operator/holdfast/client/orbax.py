"""Orbax with one checkpoint directory per host, which is what Holdfast gives to the workers of a job.

Orbax takes it for granted that all hosts share one directory: there process 0 writes the metadata, each array is
written by one of its replicas, and with separate directories the first save hangs. `manager` tells it that every
process is the primary host of its own directory and writes every array that it holds. Saves are still a matter of
all hosts: each must save the same steps in the same order (`holdfast.client.jax.Coordinator`).

Directories are made before a save returns. Orbax's default is a thread that announces them under one name for all
hosts (`create_directories_asynchronously`, seen in 0.12.8): a host would begin to write when another one's directory is
there, then fail to make its own, and leave the others waiting for it.

Files of equal state differ between hosts and runs, because their names are random: compare arrays, never files.
A checkpoint is restored by the same number of processes, each with what the same process number has written.
"""

from __future__ import annotations

import os
from pathlib import Path
from typing import Any

from holdfast.client import environment

ITEM = "state"


def manager(directory: str | os.PathLike[str] | None = None, *, max_to_keep: int | None = 3) -> Any:
    """Return an `orbax.checkpoint.CheckpointManager` for this host's own directory, which is created if need be.

    Every call of `save` saves: the loop decides when. Saving goes on in the background. `max_to_keep` bounds the
    local directory only; what is kept in the bucket is the job's `checkpoint.retention`.

    Raises `environment.EnvironmentInvalid` where all workers share one directory: there Orbax as it comes is right, and
    a manager of this kind on every host would make them overwrite each other.
    """
    import jax
    import orbax.checkpoint as ocp

    root = Path(directory) if directory is not None else environment.checkpoint_directory()
    root = root.absolute()
    require_own(root, jax.process_count())
    root.mkdir(parents=True, exist_ok=True)
    alone = ocp.options.MultiprocessingOptions(primary_host=None)
    arrays = ocp.type_handlers.ArrayHandler(primary_host=None, replica_id=None, use_replica_parallel=False)
    handler = ocp.PyTreeCheckpointHandler(
        use_ocdbt=True,
        use_zarr3=True,
        multiprocessing_options=alone,
        type_handler_registry=ocp.type_handlers.create_type_handler_registry((jax.Array, arrays)),
    )
    options = ocp.CheckpointManagerOptions(
        multiprocessing_options=alone,
        async_options=ocp.options.AsyncOptions(create_directories_asynchronously=False),
        max_to_keep=max_to_keep,
    )
    return ocp.CheckpointManager(root, item_handlers={ITEM: handler}, options=options)


def require_own(directory: Path, processes: int) -> None:
    """Raise `environment.EnvironmentInvalid` where several processes would each manage the directory of all."""
    everybodys = environment.checkpoint_directory().absolute()
    if processes > 1 and environment.shared_directory() and directory == everybodys:
        raise environment.EnvironmentInvalid(
            f"all workers share {directory} (checkpoint.volume.sharedClaim): make an orbax.checkpoint.CheckpointManager"
            " of it directly, without multiprocessing options"
        )


def save(manager: Any, step: int, state: Any) -> bool:
    """Begin to save `state`, a tree of `jax.Array`s, as `step`. Returns False if that step is there already.

    Raises TypeError for any other leaf: Orbax would silently leave NumPy arrays out on all hosts but the first.
    """
    import jax
    import orbax.checkpoint as ocp

    for path, leaf in jax.tree_util.tree_leaves_with_path(state):
        if not isinstance(leaf, jax.Array):
            where = jax.tree_util.keystr(path)
            raise TypeError(f"state{where} is a {type(leaf).__name__}: make it a jax.Array (jax.numpy.asarray)")
    if manager.latest_step() == step:
        return False
    return bool(manager.save(step, args=ocp.args.Composite(**{ITEM: ocp.args.PyTreeSave(state)}), force=True))


def restore(manager: Any, step: int, like: Any) -> Any:
    """Return the state saved as `step`, with the shapes, types and shardings of `like`.

    `like` is a tree of `jax.Array`s or of `jax.ShapeDtypeStruct`s with a sharding. Raises FileNotFoundError where
    the step is not in this host's directory; ask `environment.restored_step()` which one is.
    """
    import orbax.checkpoint as ocp

    arguments = ocp.args.PyTreeRestore(item=like, restore_args=ocp.checkpoint_utils.construct_restore_args(like))
    return manager.restore(step, args=ocp.args.Composite(**{ITEM: arguments}))[ITEM]
