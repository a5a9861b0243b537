"""Many jobs that start at once cost the API server one question about their pods."""

from __future__ import annotations

from tests.support.clock import run_until
from tests.support.house import House


def lists_of_pods(house: House) -> int:
    return len([path for method, path in house.server.requests if path.endswith("/pods") and method == "GET"])


async def test_one_list_tells_of_the_pods_of_all_jobs(house: House) -> None:
    replica = await house.start()
    await run_until(house.clock, lambda: replica.elector.leading, limit_s=10)
    await house.clock.advance(1)
    before = lists_of_pods(house)
    for number in range(40):
        house.job(f"j-{number}")
    await run_until(house.clock, lambda: all(house.status(f"j-{n}").get("seen") == 2 for n in range(40)), limit_s=30)
    assert lists_of_pods(house) - before == 1
