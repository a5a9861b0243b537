"""`spec.recovery`: what happens when a worker ends before its time."""

from __future__ import annotations

from typing import Annotated, Final

from pydantic import ConfigDict, Field

from holdfast.api.model import ApiModel, Rule, rules, unique
from holdfast.api.scalars import Duration

MAX_RESTARTS: Final = 100


class Backoff(ApiModel):
    """How long a restart waits: `initial`, doubled with every restart counted in the window, at most `max`."""

    model_config = ConfigDict(
        json_schema_extra=rules(
            Rule("duration(self.initial) <= duration(self.max)", "backoff.initial must not exceed backoff.max"),
            Rule("duration(self.max) <= duration('24h')", "backoff.max must not exceed 24h"),
        )
    )

    initial: Duration = "1s"
    """The wait before the first restart."""

    max: Duration = "5m"
    """The longest wait between two attempts."""


class Recovery(ApiModel):
    """What happens when a worker ends before its time: the whole gang restarts from the newest commit."""

    max_restarts: Annotated[int, Field(ge=0, le=MAX_RESTARTS)] = 10
    """How many restarts within restartWindow are allowed before the job fails. Preemption, node loss, drains,
    suspend and moves to other node pools are not counted; an eviction by the kubelet, for memory or disk, is."""

    restart_window: Annotated[
        Duration,
        Field(
            json_schema_extra=rules(
                Rule(
                    "duration(self) >= duration('1m') && duration(self) <= duration('8760h')",
                    "restartWindow must be between 1m and 8760h",
                )
            )
        ),
    ] = "24h"
    """How long a restart counts against maxRestarts."""

    backoff: Backoff = Backoff()
    """How long a restart waits."""

    final_exit_codes: Annotated[
        tuple[Annotated[int, Field(ge=1, le=255)], ...], Field(max_length=32, json_schema_extra=unique())
    ] = ()
    """Exit codes of the trainer that no restart can mend: the job fails at once."""

    node_lost_timeout: Annotated[
        Duration,
        Field(
            json_schema_extra=rules(
                Rule(
                    "duration(self) >= duration('1s') && duration(self) <= duration('24h')",
                    "nodeLostTimeout must be between 1s and 24h",
                )
            )
        ),
    ] = "60s"
    """How long the node of a worker may be out of reach before the pod is given up and the gang restarts elsewhere."""

    stall_timeout: (
        Annotated[
            Duration,
            Field(
                json_schema_extra=rules(
                    Rule(
                        "duration(self) >= duration('30s') && duration(self) <= duration('168h')",
                        "stallTimeout must be between 30s and 168h: leave it out where no stall is to be judged",
                    )
                )
            ),
        ]
        | None
    ) = None
    """How long all workers may go without reporting another step before the gang is restarted with cause Stalled, such
    as 30m; longer than the longest pause between two steps, a save or an evaluation included. It counts against
    maxRestarts. An attempt whose trainer has not reported a step through the client library is never judged, nor one
    whose sidecars are not heard. Left out, a stall is not judged."""
