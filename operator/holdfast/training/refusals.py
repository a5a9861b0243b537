"""What stands behind a create that the API server refused: one stable reason, and what to change.

The API server has one status code (403) for most of what admission refuses; only its words tell which plugin spoke. A
text that is not known here loses nothing but its own word: the general reason quotes it.
"""

from __future__ import annotations

import re
from typing import Final

from holdfast.api.reasons import Reason
from holdfast.planning.observed import Refusal
from holdfast.planning.plan import CLAIMS
from holdfast.training.wait import Wait, quoted

_GOES_ON: Final = "The job then goes on by itself."
# The words of Kubernetes' LimitRanger (1.36).
_LIMIT_RANGE: Final = re.compile(r"(maximum|minimum) \S+ usage per \w+ is |max limit to request ratio per ")


def refusal(refused: Refusal, ours: str = "") -> Wait:
    """Return the wait behind a create that the API server refused; `ours` tells what our own containers ask for."""
    text, said = refused.message, quoted(refused.message)
    what = "claim" if refused.resource == CLAIMS else "pod"
    if "exceeded quota" in text or "status unknown for quota" in text:
        return Wait(
            Reason.QUOTA_EXCEEDED,
            f"A quota of the namespace does not allow the {what}: {said} Raise the quota or free some of it. "
            f"{_GOES_ON}",
        )
    if "failed quota" in text:
        return Wait(
            Reason.QUOTA_EXCEEDED,
            f"A quota of the namespace asks for resources that a container does not name: {said} Name them in the "
            "template of a new TrainingJob, or add a LimitRange with defaults, which Holdfast's own containers need.",
        )
    if "violates PodSecurity" in text:
        return Wait(
            Reason.POD_SECURITY_REFUSED,
            f"The namespace's pod security level refuses the pod: {said} Change the securityContext in the template of "
            "a new TrainingJob, or the namespace's label pod-security.kubernetes.io/enforce.",
        )
    if "serviceaccount" in text.lower() and "not found" in text:
        return Wait(
            Reason.SERVICE_ACCOUNT_MISSING,
            f"{said} Create the service account that template.spec.serviceAccountName names. {_GOES_ON}",
        )
    if _LIMIT_RANGE.search(text) and refused.resource == CLAIMS:
        return Wait(
            Reason.LIMIT_RANGE_EXCEEDED,
            f"A LimitRange of the namespace forbids the size of the claim: {said} Change the LimitRange, or the "
            f"storage that checkpoint.volume.claimTemplate asks for in a new TrainingJob. {_GOES_ON}",
        )
    if _LIMIT_RANGE.search(text):
        return Wait(
            Reason.LIMIT_RANGE_EXCEEDED,
            f"A LimitRange of the namespace forbids the resources of the pod: {said} Change the LimitRange, or the "
            f"resources in the template of a new TrainingJob. {ours}".rstrip(),
        )
    return Wait(Reason.CREATE_REFUSED, f"The API server refuses {refused.resource.kind} {refused.name}: {said}")
