"""The authority is made once and never changed; leaves come and go, and clients that know the authority trust them."""

from __future__ import annotations

import asyncio
import base64
import ssl
from datetime import UTC, datetime, timedelta

import pytest
from cryptography import x509

from holdfast.cluster.client import ApiClient
from holdfast.reports.authority import (
    AUTHORITY_LIFE,
    SECRETS,
    Authority,
    AuthorityError,
    Leaf,
    issue_leaf,
    load_or_create,
    make_authority,
)
from tests.support.apiserver import Call, MemoryApiServer
from tests.support.apiserver_faults import matching
from tests.support.clock import SeededRandom, SeededSpawner, VirtualClock

NOW = datetime.now(UTC)
HOST = "holdfast-operator.system.svc"


@pytest.fixture
def server() -> MemoryApiServer:
    return MemoryApiServer(VirtualClock(), SeededSpawner())


@pytest.fixture
def client(server: MemoryApiServer) -> ApiClient:
    return ApiClient(server, VirtualClock(), SeededRandom())


async def load(client: ApiClient, held: Authority | None = None, now: datetime = NOW) -> Authority:
    return await load_or_create(client, "system", "holdfast-ca", now, held)


async def test_the_first_creates_and_all_others_take_what_is_there(server: MemoryApiServer, client: ApiClient) -> None:
    first = await load(client)
    before = server.all("secrets")
    assert await load(client) == first
    assert server.all("secrets") == before
    certificate = x509.load_pem_x509_certificate(first.certificate_pem.encode())
    assert certificate.not_valid_after_utc - NOW > AUTHORITY_LIFE - timedelta(days=1)


async def test_of_two_at_once_both_end_with_the_winners(server: MemoryApiServer, client: ApiClient) -> None:
    winner = make_authority(NOW)
    answer = server._answer

    def overtaken(call: Call) -> bytes:
        if call.method == "POST" and server.find("secrets", "system", "holdfast-ca") is None:
            server.put("secrets", winner.secret("system", "holdfast-ca"))
        return answer(call)

    server._answer = overtaken  # type: ignore[method-assign]  # an answer that comes late
    assert await load(client) == winner


async def test_a_lost_answer_to_the_creation_makes_one(server: MemoryApiServer, client: ApiClient) -> None:
    server.faults.lose_answer(matching("POST"))
    clock = VirtualClock()
    task = asyncio.ensure_future(load(ApiClient(server, clock, SeededRandom())))
    await clock.advance(4)
    assert await task == await load(client)


async def test_a_secret_that_was_deleted_comes_back_as_it_was(server: MemoryApiServer, client: ApiClient) -> None:
    held = await load(client)
    server.remove("secrets", "system", "holdfast-ca")
    assert await load(client, held) == held


@pytest.mark.parametrize("damage", ["empty", "no pem", "other key"])
async def test_a_damaged_secret_is_never_replaced_by_itself(
    server: MemoryApiServer, client: ApiClient, damage: str
) -> None:
    await load(client)
    other = base64.b64encode(make_authority(NOW).key_pem.encode()).decode()
    data = {"empty": None, "no pem": {"tls.crt": "eA=="}, "other key": {"tls.key": other}}[damage]
    server.merge("secrets", "system", "holdfast-ca", {"data": data})
    before = server.all("secrets")
    with pytest.raises(AuthorityError, match="delete the Secret system/holdfast-ca"):
        await load(client)
    assert server.all("secrets") == before


async def test_an_authority_that_has_ended_is_said_to_have(client: ApiClient) -> None:
    await load(client)
    with pytest.raises(AuthorityError, match="has ended"):
        await load(client, now=NOW + AUTHORITY_LIFE + timedelta(days=1))


def test_a_leaf_is_renewed_long_before_it_ends() -> None:
    leaf = issue_leaf(make_authority(NOW), [HOST], NOW)
    assert not leaf.due(NOW + timedelta(days=3))
    assert leaf.due(NOW + timedelta(days=5))
    assert leaf.ends_at > NOW + timedelta(days=6)


def test_a_leaf_never_outlives_its_authority() -> None:
    authority = make_authority(NOW)
    end = x509.load_pem_x509_certificate(authority.certificate_pem.encode()).not_valid_after_utc
    assert issue_leaf(authority, [HOST], end - timedelta(days=1)).ends_at == end


async def _serve_once(context: ssl.SSLContext) -> tuple[asyncio.Server, int]:
    async def answer(_: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        writer.close()

    server = await asyncio.start_server(answer, "127.0.0.1", 0, ssl=context)
    return server, server.sockets[0].getsockname()[1]


async def _serial(port: int, authority: Authority, host: str = HOST) -> int:
    """Connect as a sidecar does, verifying against the authority alone; return the leaf's serial number."""
    trust = ssl.create_default_context(cadata=authority.certificate_pem)
    _, writer = await asyncio.open_connection("127.0.0.1", port, ssl=trust, server_hostname=host)
    der = writer.get_extra_info("ssl_object").getpeercert(binary_form=True)
    writer.close()
    return x509.load_der_x509_certificate(der).serial_number


async def test_handshakes_verify_and_a_new_leaf_is_used_without_a_restart() -> None:
    authority = make_authority(NOW)
    names = [HOST, "10.0.0.7", "holdfast-operator"]
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    issue_leaf(authority, names, NOW).load_into(context)
    server, port = await _serve_once(context)
    async with server:
        first = await _serial(port, authority)
        assert await _serial(port, authority, "10.0.0.7") == first
        issue_leaf(authority, names, NOW).load_into(context)
        second = await _serial(port, authority)
        assert second != first
        with pytest.raises(ssl.SSLCertVerificationError):
            await _serial(port, authority, "somebody-else.svc")
        with pytest.raises(ssl.SSLCertVerificationError):
            await _serial(port, make_authority(NOW))


def test_the_secret_is_of_a_kind_that_tools_know() -> None:
    secret = make_authority(NOW).secret("system", "holdfast-ca")
    assert secret["type"] == "kubernetes.io/tls"
    assert SECRETS.item("system", "holdfast-ca") == "/api/v1/namespaces/system/secrets/holdfast-ca"
    assert isinstance(issue_leaf(make_authority(NOW), [HOST], NOW), Leaf)
