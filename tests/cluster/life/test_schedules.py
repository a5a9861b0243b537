"""Random schedules of faults from seeds. The message of a failure begins with the command that lives the seed again."""

from __future__ import annotations

import pytest

from tests.cluster.life.schedules import problems, seeds_of

SEEDS = "1-500"


@pytest.mark.timeout(1200)
def test_whatever_happens_in_whatever_order_the_job_ends_whole() -> None:
    wrong = problems(seeds_of(SEEDS))
    assert not wrong, "\n".join(wrong)


def test_seeds_are_named_singly_or_as_a_range() -> None:
    assert list(seeds_of("17")) == [17]
    assert list(seeds_of("3-5")) == [3, 4, 5]
