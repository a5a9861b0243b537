"""The lead handed to and fro between the two replicas, with all else in peace: what does a term leave behind?"""

from __future__ import annotations

import time
from collections.abc import Callable
from typing import Any

from kubernetes.client import ApiException, CoordinationV1Api
from urllib3.exceptions import HTTPError

from deploy.demo import installation
from deploy.demo.lab import REPLY_S, Lab
from tests.e2e.harness.waiting import until
from tests.soak.usage import state

LEASE = "holdfast-operator"
# Each of the two leads four times; each time it is looked at about three times.
TIMES = 8
_TERM_S = 15.0
# A leader notices at its next renewal, the other one at its next look; each comes every 2 s.
_TAKEN_S = 30.0
_CONFLICT = 409


def hand_over(lab: Lab, tend: Callable[[], None]) -> int:
    """Hand the lead over `TIMES` times; between, `tend` is called. Returns how often it was taken.

    Raises:
        AssertionError: where the one that should lead does not, or the other one goes on.
    """
    installation.wait_ready(lab)
    for _ in range(TIMES):
        until("another replica is in the lease", lambda: _write(lab), within_s=_TAKEN_S)
        until("the replica that is in the lease leads alone", lambda: _leads_alone(lab), within_s=_TAKEN_S)
        end = time.monotonic() + _TERM_S
        while time.monotonic() < end:
            tend()
            time.sleep(1.0)
    return TIMES


def _write(lab: Lab) -> bool:
    """Write the replica that stands by into the lease, as if it had taken it."""
    leases: Any = CoordinationV1Api(lab.api)
    lease = leases.read_namespaced_lease(LEASE, installation.NAMESPACE, _request_timeout=REPLY_S)
    states = _states(lab)
    heirs = [one for one in states if not one["leading"]]
    if len(states) != 2 or len(heirs) != 1:
        return False
    [heir] = heirs
    lease.spec.holder_identity = str(heir["identity"])
    try:
        leases.replace_namespaced_lease(LEASE, installation.NAMESPACE, lease, _request_timeout=REPLY_S)
    except ApiException as error:
        if error.status != _CONFLICT:
            raise
        # The leader was renewing it.
        return False
    return True


def _leads_alone(lab: Lab) -> bool:
    leases: Any = CoordinationV1Api(lab.api)
    lease = leases.read_namespaced_lease(LEASE, installation.NAMESPACE, _request_timeout=REPLY_S)
    return [one["identity"] for one in _states(lab) if one["leading"]] == [lease.spec.holder_identity]


def _states(lab: Lab) -> list[dict[str, object]]:
    found = []
    for pod in installation.operator_pods(lab):
        try:
            found.append(state(lab, str(pod.metadata.name)))
        except (ApiException, HTTPError, OSError):
            # One that is just being started or taken away.
            continue
    return found
