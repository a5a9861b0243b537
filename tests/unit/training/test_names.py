"""Whatever the name of a job and however large its gang, everything that is named after it keeps to DNS and labels."""

from __future__ import annotations

import re
from itertools import islice

from hypothesis import given
from hypothesis import strategies as st

from holdfast.api.accelerator import V5P_MAX_CHIPS
from holdfast.api.scalars import INT32_MAX
from holdfast.api.trainingjob import MAX_NAME_LENGTH
from holdfast.planning.slots import Slot, gang

LABEL = re.compile(r"[a-z0-9]([-a-z0-9]{0,61}[a-z0-9])?")
LONGEST = "a" * MAX_NAME_LENGTH
# One slice a job, four chips a host at the least where there are many; 1024 workers without accelerators.
MOST_HOSTS = max(V5P_MAX_CHIPS // 4, 1024)


def test_the_longest_names_of_the_largest_gang_fit() -> None:
    last = next(islice(gang(1, MOST_HOSTS), MOST_HOSTS - 1, None))
    names = [last.pod_name(LONGEST, INT32_MAX), last.hostname(LONGEST), LONGEST]
    names += last.labels(LONGEST, "0a1b2c3d-0000-0000-0000-000000000001", INT32_MAX).values()
    assert all(len(name) <= 63 for name in names), names


@given(
    st.from_regex(rf"\A[a-z]([-a-z0-9]{{0,{MAX_NAME_LENGTH - 2}}}[a-z0-9])?\Z"),
    st.integers(0, MOST_HOSTS - 1),
    st.integers(1, INT32_MAX),
)
def test_every_name_that_the_crd_takes_makes_labels_of_dns(job: str, host: int, attempt: int) -> None:
    slot = Slot(0, host)
    for name in (job, slot.hostname(job), slot.pod_name(job, attempt)):
        assert LABEL.fullmatch(name), name
