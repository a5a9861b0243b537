"""What the sidecar takes from its trainer, and what it refuses."""

from __future__ import annotations

from pathlib import Path

import pytest

from holdfast.api.wire import Progress
from holdfast.sidecar.running import Ears
from tests.support.gang import Gang


async def test_a_step_that_no_name_can_hold_is_refused_with_the_reason(tmp_path: Path) -> None:
    gang = Gang(tmp_path, parts=1)
    gang.begin(1)
    await gang.restore()
    ears = Ears(gang.keepers["0-0"], gang.clock)
    (gang.data("0-0") / "late").mkdir()
    for bad in (-1, 10**12):
        with pytest.raises(ValueError, match="must be from 0 to 999999999999"):
            await gang.run(ears.heard_complete(bad, "late"))
    await gang.run(ears.heard_complete(10**12 - 1, "late"))
    await gang.settle()
    assert gang.keepers["0-0"].state.committed == 10**12 - 1


async def test_the_age_of_a_step_counts_from_its_first_word(tmp_path: Path) -> None:
    gang = Gang(tmp_path, parts=1)
    gang.begin(1)
    await gang.restore()
    ears = Ears(gang.keepers["0-0"], gang.clock)
    ears.heard_progress(Progress(loss=1.0))
    assert ears.step_age_s() is None, "nobody has told a step"
    ears.heard_progress(Progress(step=5))
    await gang.clock.advance(20)
    assert ears.step_age_s() == 20
    ears.heard_progress(Progress(step=5, loss=0.5))
    ears.heard_progress(Progress(loss=0.4))
    ears.heard_progress(Progress(step=5))
    assert ears.step_age_s() == 20, "the same step, told again, is no progress"
    ears.heard_progress(Progress(step=6))
    assert ears.step_age_s() == 0
