"""Who sends a report: the projected service account token of a pod, verified without asking anybody.

Tokens are checked against the API server's published keys. Where these cannot be had, or do not know the token's key
even after a fresh look, the API server is asked about the one token (TokenReview), at a bounded rate.
"""

from __future__ import annotations

import asyncio
import hashlib
from collections import OrderedDict
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

import jwt
import msgspec
import orjson

from holdfast.api.wire import AUDIENCE
from holdfast.seams import ApiError, ApiTransport, Clock

DISCOVERY = "/.well-known/openid-configuration"
KEYS = "/openid/v1/jwks"
REVIEWS = "/apis/authentication.k8s.io/v1/tokenreviews"

KEYS_AGE_S = 3600.0
LOOK_AGAIN_S = 10.0
REVIEW_EVERY_S = 0.1
REVIEW_AGE_S = 60.0
REVIEWS_KEPT = 4096
LEEWAY_S = 30.0
_ALGORITHMS = ("RS256", "RS384", "RS512", "ES256", "ES384", "ES512", "PS256", "EdDSA")


class TokenRefused(Exception):
    """The token does not prove a pod's identity; the message says why, without repeating the token."""


class VerifierBusy(Exception):
    """It cannot be told now; the sender may try again later."""


@dataclass(frozen=True, slots=True)
class PodIdentity:
    """The pod that a token was made for."""

    namespace: str
    pod_name: str
    pod_uid: str
    service_account: str = ""


class TokenVerifier:
    """Verifies bearer tokens for the audience of reports."""

    def __init__(self, transport: ApiTransport, clock: Clock, *, audience: str = AUDIENCE) -> None:
        self._transport = transport
        self._clock = clock
        self._audience = audience
        self._issuer = ""
        self._keys: dict[str, jwt.PyJWK] = {}
        self._looked_at = float("-inf")
        self._looking = asyncio.Lock()
        self._reviewed_at = float("-inf")
        self._reviews: OrderedDict[bytes, tuple[float, PodIdentity]] = OrderedDict()
        self.reviews = 0

    async def verify(self, token: str) -> PodIdentity:
        """Return the pod that the token was made for. Raises `TokenRefused` or `VerifierBusy`."""
        try:
            header = jwt.get_unverified_header(token)
        except jwt.InvalidTokenError as error:
            raise TokenRefused(f"not a token: {error}") from error
        key = await self._key(str(header.get("kid", "")))
        if key is None:
            return await self._review(token)
        return self._checked(token, key)

    async def prepare(self) -> None:
        """Fetch the keys where that is due, so that the first reports of many pods need not wait for them."""
        async with self._looking:
            if self._clock.monotonic() - self._looked_at > (KEYS_AGE_S if self._keys else LOOK_AGAIN_S):
                await self._look()

    async def _key(self, key_id: str) -> jwt.PyJWK | None:
        """Return the published key of this id; an unknown one is a reason to look again, though not too often.

        Whoever comes while somebody looks waits for the outcome, and does not look again.
        """
        if key_id not in self._keys or self._clock.monotonic() - self._looked_at > KEYS_AGE_S:
            async with self._looking:
                age = self._clock.monotonic() - self._looked_at
                if age > KEYS_AGE_S or (key_id not in self._keys and age > LOOK_AGAIN_S):
                    await self._look()
        return self._keys.get(key_id)

    async def _look(self) -> None:
        self._looked_at = self._clock.monotonic()
        try:
            discovery = orjson.loads(await self._transport.request("GET", DISCOVERY))
            keys = orjson.loads(await self._transport.request("GET", KEYS))
            found = {str(key["kid"]): jwt.PyJWK(key) for key in keys["keys"] if "kid" in key}
            self._issuer = str(discovery["issuer"])
        except (ApiError, KeyError, TypeError, ValueError, jwt.PyJWTError):
            # The keys known so far stay good; without any, every token is reviewed by the API server.
            return
        self._keys = found

    def _checked(self, token: str, key: jwt.PyJWK) -> PodIdentity:
        try:
            claims: Mapping[str, Any] = jwt.decode(
                token,
                key,
                algorithms=list(_ALGORITHMS),
                audience=self._audience,
                issuer=self._issuer,
                options={
                    "require": ["exp", "aud", "iss"],
                    # Times are checked below, with our own clock.
                    "verify_exp": False,
                    "verify_nbf": False,
                    "verify_iat": False,
                },
            )
        except jwt.InvalidTokenError as error:
            raise TokenRefused(f"the token is not valid: {error}") from error
        now = self._clock.now().timestamp()
        try:
            expired = now > float(claims["exp"]) + LEEWAY_S
            early = now < float(claims.get("nbf", 0)) - LEEWAY_S
        except (TypeError, ValueError) as error:
            raise TokenRefused("the token's times are no numbers") from error
        if expired or early:
            raise TokenRefused("the token has expired" if expired else "the token is not valid yet")
        return _pod_of(claims.get("kubernetes.io"))

    async def _review(self, token: str) -> PodIdentity:
        now = self._clock.monotonic()
        digest = hashlib.sha256(token.encode()).digest()
        held = self._reviews.get(digest)
        if held is not None and now - held[0] < REVIEW_AGE_S:
            return held[1]
        if now - self._reviewed_at < REVIEW_EVERY_S:
            raise VerifierBusy("too many tokens of unknown keys at once")
        self._reviewed_at = now
        self.reviews += 1
        body = {
            "apiVersion": "authentication.k8s.io/v1",
            "kind": "TokenReview",
            "spec": {"token": token, "audiences": [self._audience]},
        }
        try:
            answer = orjson.loads(await self._transport.request("POST", REVIEWS, body=orjson.dumps(body)))
        except ApiError as error:
            raise VerifierBusy(f"the API server could not be asked about the token: {error}") from error
        identity = _reviewed(answer.get("status", {}), self._audience)
        self._reviews[digest] = (now, identity)
        while len(self._reviews) > REVIEWS_KEPT:
            self._reviews.popitem(last=False)
        return identity


class _Named(msgspec.Struct, frozen=True):
    name: str = ""
    uid: str = ""


class _Bound(msgspec.Struct, frozen=True):
    """The private claim that the API server puts into bound tokens."""

    namespace: str
    pod: _Named
    serviceaccount: _Named = _Named()


def _pod_of(claim: object) -> PodIdentity:
    try:
        bound = msgspec.convert(claim, _Bound)
    except msgspec.ValidationError as error:
        raise TokenRefused("the token is not bound to a pod") from error
    if not bound.pod.uid:
        raise TokenRefused("the token is not bound to a pod")
    return PodIdentity(bound.namespace, bound.pod.name, bound.pod.uid, bound.serviceaccount.name)


def _reviewed(status: Mapping[str, Any], audience: str) -> PodIdentity:
    if not status.get("authenticated") or audience not in status.get("audiences", ()):
        raise TokenRefused(f"the API server refuses the token: {status.get('error') or 'not authenticated'}")
    user = status.get("user", {})
    extra = user.get("extra", {})
    parts = str(user.get("username", "")).split(":")
    name = extra.get("authentication.kubernetes.io/pod-name")
    uid = extra.get("authentication.kubernetes.io/pod-uid")
    if parts[:2] != ["system", "serviceaccount"] or len(parts) != 4 or not name or not uid:
        raise TokenRefused("the token is not bound to a pod")
    return PodIdentity(namespace=parts[2], pod_name=str(name[0]), pod_uid=str(uid[0]), service_account=parts[3])
