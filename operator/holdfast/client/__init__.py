"""The optional library for programs that run under Holdfast. The bare import needs the standard library alone.

A trainer needs none of it: a directory of checkpoints is enough. With it, the job's status shows the step and the
loss, and the program hears when a checkpoint is wanted now. Nothing here makes training wait or fail, and outside of
Holdfast everything is a no-op with sensible answers.

* `environment`: where to write, what was restored, how often to save
* `progress.report`: step, total, loss
* `checkpoint.complete`, `checkpoint.requested`: to and from the sidecar
* `marker.write`: mark a checkpoint of a format of your own as complete
* `termination`: SIGTERM as process 1
* `holdfast.client.jax`, `holdfast.client.orbax`: not imported here; they import JAX and Orbax when they are used
"""

from holdfast.client import checkpoint, environment, marker, progress, termination
from holdfast.client.checkpoint import Request

__all__ = ["Request", "checkpoint", "environment", "marker", "progress", "termination"]
