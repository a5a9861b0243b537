"""How long a change of a pod may wait before its object is planned.

The pods of a gang change together, and each of them several times within a second: what happens within a moment makes
one pass. What cannot change a plan waits for longer, for it is as well planned together with what follows.
"""

from __future__ import annotations

from typing import Final

from holdfast.accelerators.tpu import ACCELERATOR_LABEL
from holdfast.planning.observed import Pod
from holdfast.training.pools import NODE_POOL

GATHER_S: Final = 0.1
# What only shows that a pod is on its way changes no plan: it may wait for what comes next, that containers are seen.
ON_ITS_WAY_S: Final = 2.0
# While the pods of a gang leave, nothing is to be done until the last is gone; all that wait are planned that often.
LEAVING_S: Final = 0.5
# Conditions that are bad news where they are met.
_BAD_NEWS: Final = frozenset({"DisruptionTarget"})


def patience_s(old: Pod | None, new: Pod | None, *, waited: bool, last: bool) -> float:
    """Return how long a change from `old` to `new` (None: it was or is not there) may wait.

    `waited`: a pass was put off for this. `last`: it was the last pod of its object, which makes way for others.
    """
    if last:
        return 0.0
    if waited:
        return GATHER_S
    if old is not None and old.deleting and (new is None or _same_but_for_the_mark(old, new)):
        return LEAVING_S
    return ON_ITS_WAY_S if new is not None and _on_its_way(new) else GATHER_S


def _on_its_way(pod: Pod) -> bool:
    """Say whether a pod was merely created or bound to a node: no container is told of, and nothing is wrong.

    Where a pod with accelerators is bound decides where others go.
    """
    status = pod.status
    return (
        status.phase == "Pending"
        and not pod.deleting
        and not status.container_statuses
        and not status.init_container_statuses
        and all(condition.status == "True" and condition.type not in _BAD_NEWS for condition in status.conditions)
        and NODE_POOL not in pod.spec.node_selector
        and ACCELERATOR_LABEL not in pod.spec.node_selector
    )


def _same_but_for_the_mark(old: Pod, new: Pod) -> bool:
    """Say whether a pod that leaves differs in nothing but when it must be gone: its kubelet shortens that at last."""
    return old.metadata.uid == new.metadata.uid and (old.spec, old.status) == (new.spec, new.status)
