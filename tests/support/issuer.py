"""An issuer of service account tokens: real keys, real signatures, and the documents that the API server publishes."""

from __future__ import annotations

from collections.abc import Mapping
from datetime import datetime, timedelta
from typing import Any

import jwt
import orjson
from cryptography.hazmat.primitives.asymmetric import ec, rsa
from jwt.algorithms import ECAlgorithm, RSAAlgorithm

from holdfast.api.wire import AUDIENCE
from holdfast.reports.tokens import DISCOVERY, KEYS

ISSUER = "https://kubernetes.default.svc.cluster.local"


class Issuer:
    """Signs tokens as an API server does. `rotate` adds a key that new tokens are signed with."""

    def __init__(self) -> None:
        self._keys: dict[str, rsa.RSAPrivateKey | ec.EllipticCurvePrivateKey] = {}
        self.current = ""
        self.rotate()

    def rotate(self, *, curve: bool = False) -> None:
        self.current = f"key-{len(self._keys)}"
        self._keys[self.current] = (
            ec.generate_private_key(ec.SECP256R1()) if curve else rsa.generate_private_key(65537, 2048)
        )

    def documents(self) -> dict[str, bytes]:
        """Return what is published, by path."""
        keys: list[dict[str, Any]] = []
        for kid, key in self._keys.items():
            public: dict[str, Any]
            if isinstance(key, rsa.RSAPrivateKey):
                public = RSAAlgorithm.to_jwk(key.public_key(), as_dict=True) | {"alg": "RS256"}
            else:
                public = ECAlgorithm.to_jwk(key.public_key(), as_dict=True) | {"alg": "ES256"}
            keys.append({**public, "kid": kid, "use": "sig"})
        return {DISCOVERY: orjson.dumps({"issuer": ISSUER}), KEYS: orjson.dumps({"keys": keys})}

    def token(
        self, now: datetime, changes: Mapping[str, object] | None = None, *, kid: str | None = None, without: str = ""
    ) -> str:
        """Return a token for the pod `p-0` (UID `uid-0`) in `ns`.

        `changes` replace claims, `without` leaves one out, `kid` names another key than the current one.
        """
        claims: dict[str, object] = {
            "aud": [AUDIENCE],
            "iss": ISSUER,
            "sub": "system:serviceaccount:ns:default",
            "iat": int(now.timestamp()),
            "nbf": int(now.timestamp()),
            "exp": int((now + timedelta(hours=1)).timestamp()),
            "kubernetes.io": {
                "namespace": "ns",
                "node": {"name": "n-1", "uid": "node-uid"},
                "pod": {"name": "p-0", "uid": "uid-0"},
                "serviceaccount": {"name": "default", "uid": "sa-uid"},
            },
            **(changes or {}),
        }
        claims.pop(without, None)
        name = kid or self.current
        key = self._keys.get(name, self._keys[self.current])
        algorithm = "RS256" if isinstance(key, rsa.RSAPrivateKey) else "ES256"
        return jwt.encode(claims, key, algorithm=algorithm, headers={"kid": name})
