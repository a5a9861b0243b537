"""What is known about the node under a pod, and which of it is evidence that the pod is dead.

The closed list of evidence: its containers are reported terminated; its Node object was deleted by the cloud
controller; the node carries the out-of-service taint. A node out of reach is none: a partitioned kubelet keeps its
containers running. Training is fenced at the bucket, so its pods may be given up after `nodeLostTimeout` all the same.
"""

from __future__ import annotations

from datetime import datetime, timedelta

from holdfast.planning.observed import Pod
from holdfast.training.view import View


def proven_dead(view: View, pod: Pod) -> bool:
    """Say whether there is evidence that the pod's containers have ended."""
    if pod.ended:
        return True
    name = pod.spec.node_name
    if not name:
        return False
    node = view.observed.nodes.get(name)
    return node is None or node.out_of_service


def unreachable_since(view: View, pod: Pod) -> datetime | None:
    """Return since when the pod's node is out of reach; None where it is Ready, unknown or gone."""
    node = view.observed.nodes.get(pod.spec.node_name)
    return node.unready_since if node else None


def given_up_in(view: View, pod: Pod) -> timedelta | None:
    """Return how long until the pod on an unreachable node is given up (zero or less: now); None on a good node."""
    since = unreachable_since(view, pod)
    return None if since is None else since + view.node_lost_timeout - view.now


def lost(view: View, pod: Pod) -> bool:
    """Say whether the pod is gone with its node, or its node has been out of reach for too long."""
    if pod.ended or not pod.spec.node_name:
        return False
    left = given_up_in(view, pod)
    return proven_dead(view, pod) or (left is not None and left <= timedelta(0))
