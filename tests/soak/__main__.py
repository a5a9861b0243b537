"""`python -m tests.soak --minutes 20`: random faults on the local cluster, and what must stay true and flat meanwhile.

HOLDFAST_CLUSTER names the cluster, which is made where it is not there, and stays. KEEP=1 leaves the namespace. Exit
code 1 where a promise was broken or something grows.
"""

from __future__ import annotations

import argparse
import json
import os
import random
import secrets
import sys
import threading
import time
from dataclasses import asdict
from pathlib import Path

from deploy.demo import installation
from deploy.demo.lab import REPLY_S, Lab
from deploy.kind import faults
from deploy.kind.console import Problem, say
from tests.e2e.harness.outage import scale_bucket
from tests.e2e.harness.pod_history import PodHistory
from tests.soak import hand_overs, leftovers, slopes, table, terms
from tests.soak.faults import Storm
from tests.soak.jobs import Fleet, make_namespace
from tests.soak.on_cluster import signal_api
from tests.soak.recoveries import WITHIN_S, Recoveries
from tests.soak.usage import Usage

_TEND_S = 2.0
# The part of the time, at its end, in which faults hit jobs alone: whoever leads then goes on leading, under load.
_LED_ON = 0.4
_SETTLE_S = 240.0


def main() -> int:
    """Run the soak; returns the exit code."""
    parser = argparse.ArgumentParser(prog="python -m tests.soak", description=__doc__)
    parser.add_argument("--minutes", type=float, default=20.0, help="how long faults are made")
    parser.add_argument("--seed", type=int, default=secrets.randbelow(1_000_000), help="repeats the choice of faults")
    parser.add_argument("--samples", type=Path, help="write what was sampled to this file, a JSON object a line")
    options = parser.parse_args()
    try:
        lab = installation.ensure(os.environ.get("HOLDFAST_CLUSTER") or "holdfast")
    except Problem as problem:
        say(f"error: {problem}")
        return 1
    say(f"soak: {options.minutes:g} minutes, seed {options.seed}")
    return _soak(lab, options.minutes, options.seed, options.samples)


def _soak(lab: Lab, minutes: float, seed: int, samples: Path | None) -> int:
    namespace = f"soak-{secrets.token_hex(3)}"
    make_namespace(lab, namespace)
    bucket = threading.Lock()
    history = PodHistory(lab)
    fleet = Fleet(lab, namespace, history, random.Random(seed + 1), bucket)
    recoveries = Recoveries()
    storm = Storm(lab, fleet, recoveries, bucket, seed)
    usage = Usage(lab)
    try:
        _weather(fleet, storm, minutes * 60)
        say("soak: no more faults; everything must go on, whoever leads, and then leave nothing behind")
        storm.stop()
        _recover(fleet, recoveries)
        try:
            hand_overs.hand_over(lab, fleet.tend)
        except (AssertionError, Problem) as error:
            fleet.book.breaches.append(f"handing the lead over: {str(error).splitlines()[0]}")
        fleet.settle(_SETTLE_S)
        usage.stop()
        fleet.book.breaches += leftovers.of_operators(lab)
    finally:
        storm.stop()
        _mend(lab)
        usage.stop()
        history.stop()
        if fleet.book.breaches:
            print(fleet.describe())
        if not os.environ.get("KEEP"):
            lab.core.delete_namespace(namespace, _request_timeout=REPLY_S)
    if samples is not None:
        samples.write_text("".join(json.dumps(asdict(one)) + "\n" for one in usage.samples))
    verdicts = slopes.judge([*usage.samples, *terms.stretches(usage.samples)])
    by_term = terms.judge(usage.samples)
    breaches = fleet.book.breaches + recoveries.breaches
    breaches += [one.breach for one in verdicts if one.breach] + [one.breach for one in by_term if one.breach]
    if minutes >= 15:
        breaches += storm.never_made()
        breaches += [f"{one.role}: too little was seen of its {one.limit.what}" for one in verdicts if one.unjudged]
        breaches += [f"{one.role}: too few terms for its {one.what}" for one in by_term if one.per_term is None]
    print(table.of_events(storm.counts, storm.refused, recoveries, fleet.book))
    print(table.of_usage(verdicts))
    print(table.of_terms(by_term))
    print(table.of_breaches(breaches, minutes, seed))
    return 1 if breaches else 0


def _weather(fleet: Fleet, storm: Storm, seconds: float) -> None:
    end = time.monotonic() + seconds
    calm_at = end - seconds * _LED_ON
    # The jobs get a moment to start.
    strike_at = time.monotonic() + 20
    while time.monotonic() < end:
        fleet.tend()
        if time.monotonic() >= strike_at:
            storm.strike(jobs_only=time.monotonic() >= calm_at)
            strike_at = time.monotonic() + storm.next_pause_s()
        time.sleep(_TEND_S)


def _recover(fleet: Fleet, recoveries: Recoveries) -> None:
    """Look on until all that was hit is well again, or has used up its time."""
    end = time.monotonic() + WITHIN_S + 30
    while recoveries.pending and time.monotonic() < end:
        fleet.tend()
        time.sleep(_TEND_S)


def _mend(lab: Lab) -> None:
    """Bring back whatever a fault that could not be undone has left away."""
    try:
        signal_api(lab, "CONT")
        for node in lab.workers():
            lab.kube.kubectl("uncordon", node)
        for number in range(1, len(lab.workers()) + 1):
            faults.bring_back(lab.kube, number)
        scale_bucket(lab, 1)
        installation.wait_ready(lab)
    except (Problem, AssertionError) as error:
        say(f"not all could be brought back: {error}")


if __name__ == "__main__":
    sys.exit(main())
