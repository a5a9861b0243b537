"""What an engine of the data path says about itself; the report endpoint gets it as it is."""

from __future__ import annotations

import msgspec

from holdfast.api.wire import Commit, Damage, Health, Phase, StoreState


class EngineState(msgspec.Struct, frozen=True, kw_only=True):
    """The fields of a `wire.Report` that an engine knows; their meaning is described there.

    `last_complete` leaves out the restored step: it was committed before this attempt began. `superseded_by` is the
    number of the newer run that has taken over, if any. `takes_part` is False for the slots that leave a shared volume
    to the first one: they never upload or commit.
    """

    phase: Phase = "Starting"
    store: StoreState = StoreState()
    health: Health = Health()
    run: int | None = None
    round: int | None = None
    restored_step: int | None = None
    last_complete: int | None = None
    part_written: int | None = None
    committed: int | None = None
    commits: tuple[Commit, ...] = ()
    damages: tuple[Damage, ...] = ()
    pending_bytes: int = 0
    waiting_for: str = ""
    superseded_by: int | None = None
    takes_part: bool = True
