"""A report's sender is who its token says, and only a token of the right issuer, audience, time and pod says so."""

from __future__ import annotations

from collections.abc import Mapping
from datetime import timedelta
from typing import Any

import jwt
import orjson
import pytest

from holdfast.reports.tokens import KEYS, LOOK_AGAIN_S, REVIEWS, PodIdentity, TokenRefused, TokenVerifier, VerifierBusy
from holdfast.seams import ApiError
from tests.support.apiserver import MemoryApiServer
from tests.support.clock import SeededSpawner, VirtualClock
from tests.support.issuer import Issuer

POD = PodIdentity("ns", "p-0", "uid-0", "default")


class ReviewingServer(MemoryApiServer):
    """An API server that reviews tokens: `known` are the good ones."""

    def __init__(self, clock: VirtualClock) -> None:
        super().__init__(clock, SeededSpawner())
        self.known: dict[str, dict[str, Any]] = {}
        self.reviewed = 0

    async def request(
        self,
        method: str,
        path: str,
        *,
        query: Mapping[str, str] | None = None,
        body: bytes | None = None,
        content_type: str = "application/json",
        timeout_s: float = 4.0,
        accept: str = "",
    ) -> bytes:
        if path == REVIEWS:
            self.reviewed += 1
            spec = orjson.loads(body or b"{}")["spec"]
            user = self.known.get(spec["token"])
            status = {"authenticated": user is not None, "user": user, "audiences": spec["audiences"], "error": "bad"}
            return orjson.dumps({"status": status})
        return await super().request(
            method, path, query=query, body=body, content_type=content_type, timeout_s=timeout_s, accept=accept
        )


def user(**extra: list[str]) -> dict[str, Any]:
    names = {"authentication.kubernetes.io/pod-name": ["p-0"], "authentication.kubernetes.io/pod-uid": ["uid-0"]}
    return {"username": "system:serviceaccount:ns:default", "extra": names | extra}


@pytest.fixture
def clock() -> VirtualClock:
    return VirtualClock()


@pytest.fixture(scope="module")
def shared() -> Issuer:
    return Issuer()


@pytest.fixture
def server(clock: VirtualClock, shared: Issuer) -> ReviewingServer:
    made = ReviewingServer(clock)
    made.documents = shared.documents()
    return made


@pytest.fixture
def verifier(server: ReviewingServer, clock: VirtualClock) -> TokenVerifier:
    return TokenVerifier(server, clock)


def lookups(server: MemoryApiServer) -> int:
    return server.requests.count(("GET", KEYS))


async def test_a_good_token_is_verified_without_asking_again(
    server: ReviewingServer, verifier: TokenVerifier, clock: VirtualClock, shared: Issuer
) -> None:
    for _ in range(5):
        assert await verifier.verify(shared.token(clock.now())) == POD
    assert lookups(server) == 1
    assert server.reviewed == 0


async def test_tokens_may_be_signed_with_elliptic_curves(server: ReviewingServer, clock: VirtualClock) -> None:
    issuer = Issuer()
    issuer.rotate(curve=True)
    server.documents = issuer.documents()
    assert await TokenVerifier(server, clock).verify(issuer.token(clock.now())) == POD


@pytest.mark.parametrize(
    ("changes", "why"),
    [
        ({"aud": ["https://kubernetes.default.svc"]}, "[Aa]udience"),
        ({"iss": "https://evil.example"}, "[Ii]ssuer"),
        ({"exp": 1}, "expired"),
        ({"exp": "soon"}, "not valid|no numbers"),
        ({"nbf": 99999999999}, "not valid yet"),
        ({"kubernetes.io": {"namespace": "ns", "serviceaccount": {"name": "default"}}}, "not bound to a pod"),
        ({"kubernetes.io": "p-0"}, "not bound to a pod"),
        ({"kubernetes.io": {"namespace": "ns", "pod": {"name": "p-0"}}}, "not bound to a pod"),
    ],
)
async def test_a_wrong_claim_is_refused(
    server: ReviewingServer,
    verifier: TokenVerifier,
    clock: VirtualClock,
    shared: Issuer,
    changes: dict[str, object],
    why: str,
) -> None:
    with pytest.raises(TokenRefused, match=why):
        await verifier.verify(shared.token(clock.now(), changes))
    assert server.reviewed == 0


@pytest.mark.parametrize("claim", ["exp", "aud", "iss", "kubernetes.io"])
async def test_a_missing_claim_is_refused(
    verifier: TokenVerifier, clock: VirtualClock, shared: Issuer, claim: str
) -> None:
    with pytest.raises(TokenRefused):
        await verifier.verify(shared.token(clock.now(), without=claim))


async def test_a_forged_signature_is_refused_though_the_key_is_named(
    verifier: TokenVerifier, clock: VirtualClock, shared: Issuer
) -> None:
    forged = Issuer().token(clock.now(), kid=shared.current)
    with pytest.raises(TokenRefused, match=r"[Ss]ignature"):
        await verifier.verify(forged)


@pytest.mark.parametrize("algorithm", ["none", "HS256"])
async def test_weaker_algorithms_are_refused(verifier: TokenVerifier, shared: Issuer, algorithm: str) -> None:
    key = "" if algorithm == "none" else "a shared secret that is long enough for everybody"
    token = jwt.encode({"aud": "x"}, key, algorithm=algorithm, headers={"kid": shared.current})
    with pytest.raises(TokenRefused):
        await verifier.verify(token)


@pytest.mark.parametrize("text", ["", "x", "a.b.c", "é.é.é", "." * 5000])
async def test_what_is_no_token_is_refused(verifier: TokenVerifier, text: str) -> None:
    with pytest.raises(TokenRefused, match="not a token"):
        await verifier.verify(text)


async def test_a_token_expires_by_our_own_clock(verifier: TokenVerifier, clock: VirtualClock, shared: Issuer) -> None:
    token = shared.token(clock.now())
    await verifier.verify(token)
    await clock.advance(3600 + 31)
    with pytest.raises(TokenRefused, match="expired"):
        await verifier.verify(token)


async def test_a_rotated_key_is_found_by_looking_again_though_not_at_every_token(
    server: ReviewingServer, clock: VirtualClock
) -> None:
    issuer = Issuer()
    server.documents = issuer.documents()
    verifier = TokenVerifier(server, clock)
    old = issuer.token(clock.now())
    await verifier.verify(old)
    await clock.advance(LOOK_AGAIN_S + 1)
    issuer.rotate()
    server.documents = issuer.documents()
    assert await verifier.verify(issuer.token(clock.now())) == POD
    assert await verifier.verify(old) == POD
    assert lookups(server) == 2
    for number in range(20):
        with pytest.raises((TokenRefused, VerifierBusy)):
            await verifier.verify(issuer.token(clock.now(), kid=f"unknown-{number}"))
    assert lookups(server) == 2


async def test_without_published_keys_the_api_server_is_asked_and_remembered(
    server: ReviewingServer, verifier: TokenVerifier, clock: VirtualClock, shared: Issuer
) -> None:
    server.documents = {}
    token = shared.token(clock.now())
    server.known[token] = user()
    for _ in range(10):
        assert await verifier.verify(token) == POD
    assert server.reviewed == 1
    await clock.advance(61)
    await verifier.verify(token)
    assert server.reviewed == 2


@pytest.mark.parametrize(
    "answer",
    [
        None,
        user(**{"authentication.kubernetes.io/pod-uid": []}),
        {"username": "kubernetes-admin", "extra": user()["extra"]},
        {"username": "system:serviceaccount:ns:default"},
    ],
    ids=["not authenticated", "no pod UID", "a person", "no pod"],
)
async def test_a_review_must_name_a_pod(
    server: ReviewingServer, verifier: TokenVerifier, clock: VirtualClock, shared: Issuer, answer: dict[str, Any] | None
) -> None:
    server.documents = {}
    token = shared.token(clock.now())
    if answer is not None:
        server.known[token] = answer
    with pytest.raises(TokenRefused):
        await verifier.verify(token)


async def test_reviews_are_bounded(server: ReviewingServer, verifier: TokenVerifier, clock: VirtualClock) -> None:
    issuer = Issuer()
    outcomes = []
    for number in range(50):
        try:
            await verifier.verify(issuer.token(clock.now(), kid=f"unknown-{number}"))
        except (TokenRefused, VerifierBusy) as error:
            outcomes.append(type(error))
    assert server.reviewed == 1
    assert outcomes.count(VerifierBusy) == 49


async def test_an_api_server_that_is_away_is_not_a_refusal(
    server: ReviewingServer,
    verifier: TokenVerifier,
    clock: VirtualClock,
    shared: Issuer,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    async def away(*args: object, **options: object) -> bytes:
        raise ApiError(0, "Unreachable", "away")

    monkeypatch.setattr(server, "request", away)
    with pytest.raises(VerifierBusy):
        await verifier.verify(shared.token(clock.now()))


async def test_keys_known_once_serve_while_the_api_server_is_away(
    server: ReviewingServer, verifier: TokenVerifier, clock: VirtualClock, shared: Issuer
) -> None:
    await verifier.verify(shared.token(clock.now()))
    await clock.advance(timedelta(hours=3).total_seconds())
    server.documents = {}
    assert await verifier.verify(shared.token(clock.now())) == POD


async def test_all_who_come_during_the_first_look_wait_for_it(
    server: ReviewingServer, verifier: TokenVerifier, clock: VirtualClock, shared: Issuer
) -> None:
    server.faults.latency = lambda method, path: 1.0
    spawner = SeededSpawner(3)
    tasks = [spawner.spawn(verifier.verify(shared.token(clock.now())), name="verify") for _ in range(50)]
    await clock.advance(3)
    assert [await task for task in tasks] == [POD] * 50
    assert lookups(server) == 1
    assert server.reviewed == 0


async def test_keys_that_were_fetched_ahead_are_not_fetched_again(
    server: ReviewingServer, verifier: TokenVerifier, clock: VirtualClock, shared: Issuer
) -> None:
    await verifier.prepare()
    assert lookups(server) == 1
    assert await verifier.verify(shared.token(clock.now())) == POD
    await verifier.prepare()
    assert lookups(server) == 1
