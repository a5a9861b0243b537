"""The report endpoint over real TLS: who may report, what is refused and how, and commands that wake a waiting pod."""

from __future__ import annotations

import asyncio
import ssl
from collections.abc import AsyncIterator
from dataclasses import dataclass, field

import aiohttp
import msgspec
import pytest

from holdfast.api.wire import REPORT_PATH, Answer, Command, Redirect, Report, encode
from holdfast.reports.commands import CommandBoard
from holdfast.reports.inbox import Inbox
from holdfast.reports.server import BODY_LIMIT, Surroundings
from holdfast.reports.service import Place, ReportService
from holdfast.reports.tokens import KEYS
from holdfast.seams.real import SystemClock, SystemRandom, TaskSpawner
from tests.support.apiserver import MemoryApiServer
from tests.support.issuer import Issuer

HOST = "holdfast-operator.system.svc"
DRAIN = Command(id="c-1", kind="Drain", deadline="2030-01-01T00:00:00Z")


def report(**changes: object) -> Report:
    base = Report(
        role="Sidecar",
        namespace="ns",
        job="j",
        job_uid="job-uid",
        attempt=1,
        slot="0-0",
        pod_name="p-0",
        pod_uid="uid-0",
        sequence=1,
        phase="Watching",
    )
    return msgspec.structs.replace(base, **changes)


@dataclass
class Endpoint:
    """A running endpoint on loopback, with what it asks of its surroundings."""

    issuer: Issuer
    clock: SystemClock = field(default_factory=SystemClock)
    pods: set[str] = field(default_factory=lambda: {"uid-0"})
    leads: bool = True
    leader: str = ""
    statuses: list[int] = field(default_factory=list)

    def __post_init__(self) -> None:
        spawner = TaskSpawner()
        self.server = server = MemoryApiServer(self.clock, spawner)
        server.documents = self.issuer.documents()
        self.inbox = Inbox(self.clock)
        self.commands = CommandBoard(self.clock, spawner)
        self.service = ReportService(
            server,
            self.clock,
            SystemRandom(),
            spawner,
            self.inbox,
            self.commands,
            Place(HOST, "system", "holdfast-ca"),
            Surroundings(self.pods.__contains__, lambda: self.leads, lambda: self.leader, self.statuses.append),
        )

    async def open(self) -> None:
        self.service.start(0)
        async with asyncio.timeout(10):
            for _ in iter(lambda: self.service.up, True):
                await asyncio.sleep(0.005)
        trust = ssl.create_default_context(cadata=self.service.authority_pem)
        self.session = aiohttp.ClientSession(connector=aiohttp.TCPConnector(ssl=trust))

    async def close(self) -> None:
        await self.session.close()
        await self.service.stop()

    async def post(
        self, body: bytes | Report, *, token: str | None = None, wait: str = ""
    ) -> tuple[int, dict[str, object]]:
        headers = {"Holdfast-Wait": wait} if wait else {}
        bearer = self.issuer.token(self.clock.now()) if token is None else token
        if bearer:
            headers["Authorization"] = f"Bearer {bearer}"
        async with self.session.post(
            f"https://127.0.0.1:{self.service.port}{REPORT_PATH}",
            data=encode(body) if isinstance(body, Report) else body,
            headers=headers,
            server_hostname=HOST,
        ) as response:
            return response.status, await response.json()

    async def answer(self, body: Report, *, wait: str = "") -> Answer:
        status, document = await self.post(body, wait=wait)
        assert status == 200, document
        return msgspec.convert(document, Answer)


@pytest.fixture(scope="module")
def issuer() -> Issuer:
    return Issuer()


@pytest.fixture
async def endpoint(issuer: Issuer) -> AsyncIterator[Endpoint]:
    made = Endpoint(issuer)
    await made.open()
    yield made
    await made.close()


async def test_a_report_is_taken_in_and_answered(endpoint: Endpoint) -> None:
    endpoint.commands.put("uid-0", (DRAIN,))
    answer = await endpoint.answer(report(last_complete=40))
    assert answer.commands == (DRAIN,)
    assert (answer.interval_s, answer.heartbeat_s, answer.wait_s) == (5.0, 30.0, 25.0)
    received = endpoint.inbox.newest("uid-0")
    assert received is not None
    assert received.report.last_complete == 40
    assert endpoint.statuses == [200]


async def test_an_acknowledged_command_is_not_sent_again(endpoint: Endpoint) -> None:
    endpoint.commands.put("uid-0", (DRAIN,))
    assert (await endpoint.answer(report(acknowledged=("c-1",)))).commands == ()


async def test_commands_are_repeated_until_they_are_acknowledged(endpoint: Endpoint) -> None:
    endpoint.commands.put("uid-0", (DRAIN,))
    for number in range(3):
        assert (await endpoint.answer(report(sequence=number))).commands == (DRAIN,)


@pytest.mark.parametrize(
    ("changes", "error"),
    [
        ({"pod_uid": "uid-1"}, "OtherPod"),
        ({"pod_name": "p-1"}, "OtherPod"),
        ({"namespace": "another"}, "OtherPod"),
    ],
)
async def test_a_pod_may_speak_only_of_itself(endpoint: Endpoint, changes: dict[str, object], error: str) -> None:
    endpoint.pods.add("uid-1")
    status, body = await endpoint.post(report(**changes))
    assert (status, body["error"]) == (403, error)
    assert len(endpoint.inbox) == 0


async def test_a_pod_that_is_not_ours_is_refused(endpoint: Endpoint) -> None:
    endpoint.pods.clear()
    status, body = await endpoint.post(report())
    assert (status, body["error"]) == (403, "UnknownPod")


@pytest.mark.parametrize("token", ["", "nonsense", "a.b.c"])
async def test_without_a_good_token_nothing_is_read(endpoint: Endpoint, token: str) -> None:
    status, body = await endpoint.post(report(), token=token)
    assert status == 401
    assert body["message"]
    assert len(endpoint.inbox) == 0


async def test_an_expired_token_is_refused(endpoint: Endpoint) -> None:
    status, body = await endpoint.post(report(), token=endpoint.issuer.token(endpoint.clock.now(), {"exp": 1000}))
    assert (status, body["error"]) == (401, "TokenRefused")


@pytest.mark.parametrize("body", [b"", b"{", b"[]", b'{"role":"Sidecar"}', b'{"role":7}', b"\xff\xfe"])
async def test_what_is_no_report_is_refused(endpoint: Endpoint, body: bytes) -> None:
    status, answer = await endpoint.post(body)
    assert (status, answer["error"]) == (400, "BadReport")


async def test_unknown_fields_are_ignored_so_that_versions_may_differ(endpoint: Endpoint) -> None:
    body = encode(report())[:-1] + b',"fromTheFuture":{"a":1}}'
    assert (await endpoint.post(body))[0] == 200


async def test_a_report_has_a_limit(endpoint: Endpoint) -> None:
    assert (await endpoint.post(report(waiting_for="x" * (BODY_LIMIT - 2000))))[0] == 200
    status, body = await endpoint.post(report(waiting_for="x" * BODY_LIMIT))
    assert (status, body["error"]) == (413, "TooLarge")


async def test_a_follower_names_the_leader(endpoint: Endpoint) -> None:
    endpoint.leads, endpoint.leader = False, "https://10.0.0.9:8443"
    status, body = await endpoint.post(report(), token="")
    assert status == 421
    assert msgspec.convert(body, Redirect).leader == "https://10.0.0.9:8443"
    assert len(endpoint.inbox) == 0


async def test_a_waiting_pod_hears_of_a_command_at_once(endpoint: Endpoint) -> None:
    await endpoint.answer(report())
    waiting = asyncio.ensure_future(endpoint.answer(report(sequence=2), wait="20"))
    await asyncio.sleep(0.1)
    assert not waiting.done()
    endpoint.commands.put("another-pod", (DRAIN,))
    await asyncio.sleep(0.05)
    assert not waiting.done()
    began = endpoint.clock.monotonic()
    endpoint.commands.put("uid-0", (DRAIN,))
    assert (await waiting).commands == (DRAIN,)
    assert endpoint.clock.monotonic() - began < 1
    again = asyncio.ensure_future(endpoint.answer(report(sequence=3), wait="20"))
    await asyncio.sleep(0.1)
    assert not again.done(), "what was sent already does not end the next wait"
    endpoint.commands.drop(("uid-0",))
    assert (await again).commands == ()


async def test_a_command_whose_answer_may_be_lost_is_sent_again_soon(
    endpoint: Endpoint, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("holdfast.reports.server.RESEND_S", 0.2)
    endpoint.commands.put("uid-0", (DRAIN,))
    await endpoint.answer(report())
    began = endpoint.clock.monotonic()
    assert (await endpoint.answer(report(sequence=2), wait="20")).commands == (DRAIN,)
    assert 0.15 < endpoint.clock.monotonic() - began < 2
    waiting = asyncio.ensure_future(endpoint.answer(report(sequence=3, acknowledged=("c-1",)), wait="1"))
    await asyncio.sleep(0.5)
    assert not waiting.done(), "what is acknowledged is not sent again"
    await waiting


async def test_keys_are_there_before_the_first_report(endpoint: Endpoint) -> None:
    async with asyncio.timeout(5):
        for _ in iter(lambda: ("GET", KEYS) in endpoint.server.requests, True):
            await asyncio.sleep(0.01)


async def test_a_wait_ends_by_itself(endpoint: Endpoint) -> None:
    began = endpoint.clock.monotonic()
    await endpoint.answer(report(), wait="0.2")
    assert 0.15 < endpoint.clock.monotonic() - began < 2


@pytest.mark.parametrize("wait", ["nan", "-5", "soon", ""])
async def test_an_odd_wait_is_none(endpoint: Endpoint, wait: str) -> None:
    began = endpoint.clock.monotonic()
    await endpoint.answer(report(), wait=wait)
    assert endpoint.clock.monotonic() - began < 2


async def test_a_command_that_came_between_two_waits_is_not_missed(endpoint: Endpoint) -> None:
    await endpoint.answer(report(), wait="0.01")
    endpoint.commands.put("uid-0", (DRAIN,))
    assert (await endpoint.answer(report(sequence=2), wait="20")).commands == (DRAIN,)


async def test_a_waiting_pod_is_sent_to_the_new_leader(endpoint: Endpoint) -> None:
    waiting = asyncio.ensure_future(endpoint.post(report(), wait="0.3"))
    await asyncio.sleep(0.1)
    endpoint.leads, endpoint.leader = False, "https://10.0.0.9:8443"
    assert (await waiting)[0] == 421


async def test_a_sender_that_dies_in_the_middle_is_no_error_of_ours(
    endpoint: Endpoint, caplog: pytest.LogCaptureFixture
) -> None:
    trust = ssl.create_default_context(cadata=endpoint.service.authority_pem)
    body = encode(report())
    head = f"POST {REPORT_PATH} HTTP/1.1\r\nHost: x\r\nContent-Length: {len(body)}\r\nHoldfast-Wait: 20\r\n"
    head += f"Authorization: Bearer {endpoint.issuer.token(endpoint.clock.now())}\r\n\r\n"
    for sent in (body[:20], body):
        _, writer = await asyncio.open_connection("127.0.0.1", endpoint.service.port, ssl=trust, server_hostname=HOST)
        writer.write(head.encode() + sent)
        await asyncio.sleep(0.2)
        writer.transport.abort()
        await asyncio.sleep(0.1)
    endpoint.commands.put("uid-0", (DRAIN,))
    await asyncio.sleep(0.1)
    assert 408 in endpoint.statuses
    assert [record for record in caplog.records if record.levelname == "ERROR"] == []
    assert (await endpoint.answer(report(sequence=2))).commands == (DRAIN,)


async def test_a_pod_that_goes_while_it_waits_is_forgotten(endpoint: Endpoint) -> None:
    await endpoint.answer(report())
    held = endpoint.service.server
    assert (held.connections, held.polls, held.answered) == (1, 0, 1)
    waiting = asyncio.ensure_future(endpoint.post(report(sequence=2), wait="0.4"))
    await asyncio.sleep(0.2)
    assert held.polls == 1
    endpoint.pods.clear()
    endpoint.inbox.drop("uid-0")
    endpoint.service.forget("uid-0")
    await waiting
    assert (held.polls, held.answered) == (0, 0)


async def test_other_paths_and_methods_are_not_there(endpoint: Endpoint) -> None:
    base = f"https://127.0.0.1:{endpoint.service.port}"
    async with endpoint.session.get(f"{base}{REPORT_PATH}", server_hostname=HOST) as response:
        assert response.status == 405
    async with endpoint.session.post(f"{base}/v1/other", server_hostname=HOST) as response:
        assert response.status == 404


async def test_stopping_does_not_wait_for_long_polls(issuer: Issuer) -> None:
    endpoint = Endpoint(issuer)
    await endpoint.open()
    waiting = asyncio.ensure_future(endpoint.post(report(), wait="25"))
    await asyncio.sleep(0.1)
    began = endpoint.clock.monotonic()
    await endpoint.service.stop()
    assert endpoint.clock.monotonic() - began < 3
    with pytest.raises(aiohttp.ClientError):
        await waiting
    await endpoint.session.close()
