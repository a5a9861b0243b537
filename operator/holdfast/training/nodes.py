"""What is known about the node under a pod, and which of it is evidence that the pod is dead.

The closed list of evidence: its containers are reported terminated; its Node object was deleted by the cloud
controller; the node carries the out-of-service taint. A node out of reach is none: a partitioned kubelet keeps its
containers running. Training is fenced at the bucket, so its pods may be given up after `nodeLostTimeout` all the same.
"""

from __future__ import annotations

from datetime import datetime, timedelta

from holdfast.planning.observed import Pod
from holdfast.training.view import View


def unreachable_since(view: View, pod: Pod) -> datetime | None:
    """Return since when the pod's node is out of reach; None where it is Ready, unknown or gone."""
    node = view.observed.nodes.get(pod.spec.node_name)
    return node.unready_since if node else None


def given_up_in(view: View, pod: Pod) -> timedelta | None:
    """Return how long until the pod on an unreachable node is given up (zero or less: now); None on a good node."""
    since = unreachable_since(view, pod)
    return None if since is None else since + view.node_lost_timeout - view.now


def abandoned(view: View, pod: Pod) -> bool:
    """Say whether no kubelet will ever finish the pod, so that only a deletion by force removes its object.

    Its node is gone, declared dead, or has been out of reach for too long. Where all its containers are reported
    terminated, a node that is out of reach at all is enough.
    """
    name = pod.spec.node_name
    if not name:
        return False
    node = view.observed.nodes.get(name)
    if node is None or node.out_of_service:
        return True
    left = given_up_in(view, pod)
    return left is not None and (pod.ended or left <= timedelta(0))


def lost(view: View, pod: Pod) -> bool:
    """Say whether the pod was lost with its node before it could end."""
    return not pod.ended and abandoned(view, pod)
