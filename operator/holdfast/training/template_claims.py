"""Volume claims that keep a worker off every node: the claims that the template mounts, missing or without a volume.

The scheduler tells of both in the pod's condition PodScheduled. It names a claim that is missing; a claim without a
volume it does not name, so the template does.
"""

from __future__ import annotations

import re
from collections.abc import Iterator
from typing import Final

from holdfast.api.reasons import Reason
from holdfast.planning.observed import Pod
from holdfast.training.view import View
from holdfast.training.wait import Wait, quoted

# The words of the scheduler's VolumeBinding plugin (Kubernetes 1.36).
_BAD_CLAIM: Final = re.compile(
    r'persistentvolumeclaim "(?P<name>[^"]+)" (?P<what>not found|is being deleted|bound to non-existent)'
)
_UNBOUND: Final = "unbound immediate PersistentVolumeClaims"
_GOES_ON: Final = "The job then goes on by itself."


def wait(view: View, pod: Pod, said: str) -> Wait | None:
    """Return the wait behind the scheduler's words where it is a claim, else None."""
    worker = f"Worker {pod.slot}"
    bad = _BAD_CLAIM.search(said)
    if bad is not None:
        claim = f"{worker} mounts PersistentVolumeClaim {bad['name']}, which"
        if bad["what"] == "not found":
            return Wait(Reason.CLAIM_NOT_FOUND, f"{claim} does not exist: create it. {_GOES_ON}")
        if bad["what"] == "is being deleted":
            return Wait(Reason.CLAIM_NOT_FOUND, f"{claim} is being deleted: create it anew. {_GOES_ON}")
        return Wait(Reason.CLAIM_LOST, f"{claim} has lost its volume: delete it and create it anew. {_GOES_ON}")
    if _UNBOUND in said:
        named = ", ".join(_names(view, pod))
        return Wait(
            Reason.CLAIM_PENDING,
            f"{worker} mounts PersistentVolumeClaim {named or '(unknown)'}, which has no volume yet: "
            f"{quoted(said, 300)} `kubectl describe pvc` says why; a storage class that does not exist is the usual "
            f"cause. {_GOES_ON}",
        )
    return None


def _names(view: View, pod: Pod) -> Iterator[str]:
    """Yield the claims that the template mounts."""
    for volume in view.job.spec["template"]["spec"].get("volumes") or ():
        if claim := (volume.get("persistentVolumeClaim") or {}).get("claimName"):
            yield str(claim)
        elif volume.get("ephemeral"):
            yield f"{pod.metadata.name}-{volume.get('name', '')}"
