"""The example trainer without a cluster: two workers in one container, one of them killed, again and again.

It is run by `make chaos`, which repeats it, and not with all tests. Repeated under load it showed how a save of Orbax's
could stand still for ever (see `holdfast.client.orbax`). The script gives up after a while and shows what every worker
has said.
"""

from __future__ import annotations

import os
from pathlib import Path

import pytest

from tests.e2e.images.containers import Engine

SCRATCH = ("--tmpfs", "/ckpt:mode=0777", "--tmpfs", "/tmp:mode=1777")
ROUNDS = int(os.environ.get("ROUNDS", "5"))


@pytest.fixture(scope="session")
def engine() -> Engine:
    """The engine with both images."""
    return Engine()


@pytest.mark.timeout(400)
@pytest.mark.parametrize("number", range(ROUNDS))
def test_a_killed_worker_costs_steps_and_nothing_else(engine: Engine, number: int) -> None:
    script = Path(__file__).with_name("two_workers.sh").read_text()
    done = engine.run(
        "holdfast-trainer", "sh", "-c", script, options=(*SCRATCH, "--env", "STEPS=240"), user="1234:5678"
    )
    assert done.code == 0, done.output[-4000:]
    assert done.events("survivor") == [{"event": "survivor", "code": 75}]
    resumed = [line for line in done.events("start") if line["restoredStep"] is not None]
    assert [line["restoredStep"] for line in resumed] == [100, 100]
    ends = done.events("final")
    assert [line["step"] for line in ends] == [240] * 4
    assert len({(line["digest"], line["loss"]) for line in ends}) == 1
    assert ends[0]["accuracy"] > 0.88
