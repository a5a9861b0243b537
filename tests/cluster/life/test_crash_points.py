"""Every crash point of every story: a process is killed before or after one call, and the job's end is the same.

The message of a failure holds the commands that live the single lives again.
"""

from __future__ import annotations

import pytest

from tests.cluster.life.crash_points import KINDS, kills, problems
from tests.cluster.life.stories import STORIES, Kill, Who

# The fewest calls that a tale must have for its crash points to mean anything.
FEWEST = {"standby": 2, "single": 2, "pod": 8}


@pytest.mark.timeout(600)
@pytest.mark.parametrize("who", KINDS)
@pytest.mark.parametrize("story", STORIES)
def test_a_death_at_any_call_changes_no_end(story: str, who: Who) -> None:
    points = [(story, kill) for kill in kills(story, who)]
    assert len(points) >= 2 * FEWEST[who]
    wrong = problems(points)
    assert not wrong, "\n".join(wrong)


def test_a_crash_point_has_a_name_to_be_found_again_by() -> None:
    kill = Kill("pod", "after", 7)
    assert Kill.parse(str(kill)) == kill
