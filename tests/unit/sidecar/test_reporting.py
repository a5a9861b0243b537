"""Reports over real TLS, and when they are sent."""

from __future__ import annotations

import ssl
from collections.abc import AsyncIterator, Callable
from datetime import UTC, datetime
from pathlib import Path

import msgspec
import pytest
from aiohttp import web

from holdfast.api import wire
from holdfast.checkpoint.state import EngineState
from holdfast.reports.authority import issue_leaf, make_authority
from holdfast.seams.real import TaskSpawner
from holdfast.sidecar.endpoint import Endpoint, ReportFailed
from holdfast.sidecar.environment import Environment
from holdfast.sidecar.reporter import Reporter, Sources
from tests.support.clock import SeededRandom, SeededSpawner, VirtualClock
from tests.support.gang import config

AUTHORITY = make_authority(datetime.now(UTC))
REPORT = wire.Report(
    role="Sidecar",
    namespace="team",
    job="digits",
    job_uid="u",
    attempt=1,
    slot="0-0",
    pod_name="digits-0-0-1",
    pod_uid="p",
    sequence=1,
    phase="Watching",
)


class Replica:
    """One replica of the operator, on loopback, with a certificate for the Service's name `localhost` alone."""

    def __init__(self) -> None:
        self.seen: list[tuple[wire.Report, str, str]] = []
        self.answer: Callable[[], web.Response] = lambda: web.Response(body=wire.encode(wire.Answer(interval_s=7)))
        self.port = 0

    async def start(self) -> None:
        app = web.Application()
        app.router.add_post(wire.REPORT_PATH, self._take)
        self.runner = web.AppRunner(app, access_log=None)
        await self.runner.setup()
        context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
        issue_leaf(AUTHORITY, ["localhost"], datetime.now(UTC)).load_into(context)
        await web.TCPSite(self.runner, "127.0.0.1", 0, ssl_context=context).start()
        self.port = self.runner.addresses[0][1]

    async def _take(self, request: web.Request) -> web.Response:
        report = msgspec.json.decode(await request.read(), type=wire.Report)
        self.seen.append((report, request.headers["Authorization"], request.headers.get("Holdfast-Wait", "")))
        return self.answer()

    def redirect_to(self, other: Replica) -> None:
        body = wire.encode(wire.Redirect(leader=f"https://127.0.0.1:{other.port}"))
        self.answer = lambda: web.Response(status=421, body=body)


@pytest.fixture
async def replicas() -> AsyncIterator[list[Replica]]:
    both = [Replica(), Replica()]
    for replica in both:
        await replica.start()
    yield both
    for replica in both:
        await replica.runner.cleanup()


@pytest.fixture
async def endpoint(replicas: list[Replica], tmp_path: Path) -> AsyncIterator[Endpoint]:
    (tmp_path / "token").write_text("first\n")
    url = f"https://localhost:{replicas[0].port}"
    made = Endpoint(url, AUTHORITY.certificate_pem, tmp_path / "token", TaskSpawner())
    yield made
    await made.close()


async def test_a_report_arrives_with_the_token_of_the_moment(
    endpoint: Endpoint, replicas: list[Replica], tmp_path: Path
) -> None:
    assert (await endpoint.post(REPORT)).interval_s == 7
    (tmp_path / "token").write_text("renewed")
    await endpoint.post(REPORT, wait_s=2.5)
    assert replicas[0].seen == [(REPORT, "Bearer first", ""), (REPORT, "Bearer renewed", "2.5")]


async def test_the_leader_is_spoken_to_by_its_address_under_the_services_name(
    endpoint: Endpoint, replicas: list[Replica]
) -> None:
    service, leader = replicas
    service.redirect_to(leader)
    await endpoint.post(REPORT)
    await endpoint.post(REPORT)
    assert (len(service.seen), len(leader.seen)) == (1, 2)
    # The leader falls silent: the Service is asked again, and knows a new one.
    await leader.runner.cleanup()
    with pytest.raises(ReportFailed):
        await endpoint.post(REPORT)
    service.answer = lambda: web.Response(body=wire.encode(wire.Answer()))
    await endpoint.post(REPORT)
    assert len(service.seen) == 2


async def test_another_authority_is_not_trusted(replicas: list[Replica], tmp_path: Path) -> None:
    (tmp_path / "token").write_text("t")
    stranger = make_authority(datetime.now(UTC)).certificate_pem
    for url, trusted in (
        (f"https://localhost:{replicas[0].port}", stranger),
        (f"https://127.0.0.1:{replicas[0].port}", AUTHORITY.certificate_pem),
    ):
        made = Endpoint(url, trusted, tmp_path / "token", TaskSpawner())
        with pytest.raises(ReportFailed, match="certificate"):
            await made.post(REPORT)
        await made.close()
    assert replicas[0].seen == []


@pytest.mark.parametrize(
    ("status", "body", "says"),
    [
        (200, b"nonsense", "not one"),
        (401, b"TokenRefused", "answered 401: TokenRefused"),
        (503, b"", "answered 503"),
        (421, b"{}", "no replica of the operator leads"),
        (421, b"nonsense", "redirect that is not one"),
        (421, b'{"leader":"http://10.0.0.1:80"}', "not an address like"),
    ],
)
async def test_bad_answers_are_failures(
    endpoint: Endpoint, replicas: list[Replica], status: int, body: bytes, says: str
) -> None:
    replicas[0].answer = lambda: web.Response(status=status, body=body)
    with pytest.raises(ReportFailed, match=says):
        await endpoint.post(REPORT)


async def test_two_replicas_that_point_at_each_other_are_given_up(endpoint: Endpoint, replicas: list[Replica]) -> None:
    replicas[0].redirect_to(replicas[1])
    replicas[1].redirect_to(replicas[1])
    with pytest.raises(ReportFailed, match="do not agree"):
        await endpoint.post(REPORT)


async def test_a_missing_token_is_a_failure(replicas: list[Replica], tmp_path: Path) -> None:
    made = Endpoint("https://localhost:1", AUTHORITY.certificate_pem, tmp_path / "none", TaskSpawner())
    with pytest.raises(ReportFailed, match="no token"):
        await made.post(REPORT)
    await made.close()


async def test_an_unreadable_authority_stops_the_reports_and_nothing_else(tmp_path: Path) -> None:
    made = Endpoint("https://localhost:1", "no certificate at all", tmp_path / "token", TaskSpawner())
    with pytest.raises(ReportFailed, match="HOLDFAST_CA_PEM is unreadable"):
        await made.post(REPORT)
    await made.close()


class Recorder(Endpoint):
    """An operator at virtual time: keeps when what arrived, and answers as it is told."""

    def __init__(self, clock: VirtualClock, spawner: SeededSpawner) -> None:
        super().__init__("http://operator.test", "", Path("/nowhere"), spawner)
        self.clock = clock
        self.posts: list[tuple[float, wire.Report, float]] = []
        self.away = False
        self.says = wire.Answer()

    async def post(self, report: wire.Report, wait_s: float = 0.0) -> wire.Answer:
        self.posts.append((self.clock.elapsed, report, wait_s))
        await self.clock.sleep(wait_s)
        if self.away:
            raise ReportFailed("away")
        wire.encode(report)
        return self.says


class Bench:
    """A reporter with a state that the test sets."""

    def __init__(self) -> None:
        self.clock, self.spawner = VirtualClock(), SeededSpawner()
        self.state = EngineState(phase="Watching")
        self.done: tuple[str, ...] = ()
        self.commands: list[wire.Command] = []
        self.operator = Recorder(self.clock, self.spawner)
        environment = Environment(config(), "pod", "uid", "", Path("/nowhere"))
        self.sources = Sources(lambda: self.state, wire.Progress, lambda: self.done, self.commands.extend)
        self.reporter = Reporter("Sidecar", environment, self.sources, self.operator, self.clock, SeededRandom())
        self.spawner.spawn(self.reporter.run(), name="run")
        self.spawner.spawn(self.reporter.poll(), name="poll")

    def times(self, *, polls: bool = False) -> list[float]:
        return [round(at, 1) for at, _, wait in self.operator.posts if (wait > 0) == polls]


async def test_nothing_new_is_a_heartbeat_alone() -> None:
    bench = Bench()
    await bench.clock.advance(95)
    assert bench.times() == [0, 30, 60, 90]
    await bench.spawner.stop()


async def test_an_age_travels_with_the_heartbeat_and_is_no_news() -> None:
    bench = Bench()
    bench.sources.step_age_s = lambda: bench.clock.elapsed
    await bench.clock.advance(65)
    assert bench.times() == [0, 30, 60]
    assert [round(report.step_age_s or 0) for _, report, _ in bench.operator.posts] == [0, 30, 60]
    await bench.spawner.stop()


async def test_small_changes_wait_for_the_interval_and_great_ones_do_not() -> None:
    bench = Bench()
    bench.operator.says = wire.Answer(interval_s=10)
    await bench.clock.advance(0.1)
    for pending in range(1, 21):
        bench.state = msgspec.structs.replace(bench.state, pending_bytes=pending)
        await bench.clock.advance(1)
    assert bench.times() == [0, 10, 20]
    bench.state = msgspec.structs.replace(bench.state, committed=100)
    await bench.clock.advance(1)
    bench.done = ("command",)
    await bench.clock.advance(1)
    assert len(bench.times()) == 5
    assert [report.sequence for _, report, _ in bench.operator.posts] == sorted(
        {report.sequence for _, report, _ in bench.operator.posts}
    )
    await bench.spawner.stop()


async def test_an_absent_operator_is_asked_ever_more_rarely_and_then_hears_all() -> None:
    bench = Bench()
    bench.operator.away = True
    await bench.clock.advance(300)
    assert 8 <= len(bench.times()) <= 25
    bench.state = msgspec.structs.replace(bench.state, committed=100)
    bench.operator.away = False
    await bench.clock.advance(31)
    assert bench.operator.posts[-1][1].committed == 100
    await bench.spawner.stop()


async def test_long_polls_run_beside_and_bring_commands() -> None:
    bench = Bench()
    command = wire.Command(id="a", kind="Drain", deadline="2030-01-01T00:01:00Z")
    bench.operator.says = wire.Answer(wait_s=20, commands=(command,))
    await bench.clock.advance(45)
    assert [wait for _, _, wait in bench.operator.posts if wait] == [20, 20, 20]
    assert bench.times()[:2] == [0, 30]
    assert set(bench.commands) == {command}
    await bench.spawner.stop()


async def test_a_restarted_sidecar_never_seems_older() -> None:
    first = Bench()
    await first.clock.advance(5)
    later = first.clock.now()
    second = Bench()
    second.clock = VirtualClock(later)
    environment = Environment(config(), "pod", "uid", "", Path("/nowhere"))
    sources = Sources(lambda: second.state, wire.Progress, tuple, lambda _: None)
    reborn = Reporter("Sidecar", environment, sources, second.operator, second.clock, SeededRandom())
    assert reborn.compose().sequence > first.reporter.compose().sequence
    await first.spawner.stop()
    await second.spawner.stop()


async def test_a_report_that_cannot_be_written_ends_no_later_ones() -> None:
    bench = Bench()
    bench.operator.says = wire.Answer(wait_s=20)
    await bench.clock.advance(1)
    bench.state = EngineState(phase="Watching", waiting_for="\udcff", committed=100)
    await bench.clock.advance(60)
    bench.state = EngineState(phase="Watching", committed=100)
    before = bench.clock.elapsed
    await bench.clock.advance(90)
    assert bench.times()[-1] > before
    assert bench.times(polls=True)[-1] > before
    await bench.spawner.stop()
