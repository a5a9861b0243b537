"""Leader election by one Lease: 15 s duration, 10 s renew deadline, 2 s between tries, all by the monotonic clock.

Safety never rests on it: two leaders at once are harmless by the order of writes and by preconditions. It spares the
API server the double work. A leader may begin a mutation until `RENEW_DEADLINE_S` after the *sending* of its last
successful renewal, and is asked before every attempt; a mutation lasts at most 4 s from its first turn; a follower
takes over no earlier than `DURATION_S` after it saw the last renewal. 10 + 4 < 15 leaves a second to spare. The
transport is its own: what waits for connections or for answers elsewhere does not hold a renewal up.
"""

from __future__ import annotations

import asyncio
import contextlib
import logging
from collections.abc import Callable
from typing import Any

import orjson

from holdfast.cluster.client import LeadershipLost
from holdfast.cluster.waiting import stop_tasks, wait_for_event
from holdfast.planning.plan import Resource
from holdfast.seams import ApiError, ApiTransport, Clock, Random, Spawner

DURATION_S = 15.0
RENEW_DEADLINE_S = 10.0
RETRY_S = 2.0
REQUEST_S = 4.0

LEASES = Resource("coordination.k8s.io", "v1", "leases", "Lease")

logger = logging.getLogger(__name__)


class LeaseElector:
    """Tries to hold one Lease. `leader` is the holder that was last seen, whoever that is."""

    def __init__(
        self,
        transport: ApiTransport,
        clock: Clock,
        random: Random,
        spawner: Spawner,
        *,
        namespace: str,
        name: str,
        identity: str,
    ) -> None:
        self._transport = transport
        self._clock = clock
        self._random = random
        self._spawner = spawner
        self._namespace = namespace
        self._name = name
        self._identity = identity
        self._stop = asyncio.Event()
        self._ended = asyncio.Event()
        self._ended.set()
        self._lease: dict[str, Any] | None = None
        self._seen: tuple[object, ...] = ()
        self._seen_at = clock.monotonic()
        self._tried_at = self._answered_at = clock.monotonic()
        self._deadline = 0.0
        self._listeners: list[Callable[[bool], None]] = []
        self._told = False
        self.leader = ""
        self.transitions = 0

    def listen(self, listener: Callable[[bool], None]) -> None:
        """Call `listener(leading)` whenever this replica begins or ceases to lead."""
        self._listeners.append(listener)

    @property
    def leading(self) -> bool:
        """Say whether this replica may begin a mutation now."""
        return self._clock.monotonic() < self._deadline

    def silence_s(self) -> float:
        """Return the seconds since a try was last answered as it should be, whoever holds the lease."""
        return self._clock.monotonic() - self._answered_at

    def stuck_s(self) -> float:
        """Return the seconds since a try last ended, whatever came of it: each ends within seconds."""
        return self._clock.monotonic() - self._tried_at

    def left_s(self) -> float:
        """Return for how many seconds this replica still leads without a further renewal; 0 where it does not."""
        return max(0.0, self._deadline - self._clock.monotonic())

    def gate(self) -> None:
        """Raise `LeadershipLost` unless this replica may begin a mutation now."""
        if not self.leading:
            raise LeadershipLost(f"{self._identity} does not hold the lease {self._namespace}/{self._name}")

    async def run(self) -> None:
        """Compete for the lease until `stop` is called."""
        self._ended.clear()
        watch = self._spawner.spawn(self._watch_deadline(), name="lease-deadline")
        try:
            while not self._stop.is_set():
                try:
                    await self._try()
                    self._answered_at = self._clock.monotonic()
                except ApiError as error:
                    logger.warning("lease.unreachable", extra={"fields": {"error": str(error)}})
                self._tried_at = self._clock.monotonic()
                self._tell()
                pause = RETRY_S * self._random.uniform(1.0, 1.1)
                await wait_for_event(self._stop, pause, self._clock, self._spawner)
        finally:
            self._ended.set()
            await stop_tasks(watch)

    async def stop(self) -> None:
        """Stop competing and give the lease back, so that the next leader need not wait for it to run out.

        Call it when no mutation is under way any more.
        """
        self._stop.set()
        await self._ended.wait()
        self._deadline = 0.0
        self._tell()
        if self.leader != self._identity or self._lease is None:
            return
        body = dict(self._lease)
        body["spec"] = {**body.get("spec", {}), "holderIdentity": "", "leaseDurationSeconds": 1}
        with contextlib.suppress(ApiError):
            await self._put(body)

    async def _try(self) -> None:
        """Take or renew the lease once, as far as that is due."""
        if self.leading and self._lease is not None:
            try:
                await self._hold(self._lease)
            except ApiError as error:
                if error.status not in (404, 409):
                    raise
                self._lease = None
            else:
                return
        try:
            lease = orjson.loads(await self._request("GET", LEASES.item(self._namespace, self._name)))
        except ApiError as error:
            if error.status != 404:
                raise
            await self._hold(None)
            return
        self._look_at(lease)
        expired = self._clock.monotonic() - self._seen_at >= self._duration(lease)
        if not self.leader or self.leader == self._identity or expired:
            await self._hold(lease)

    def _look_at(self, lease: dict[str, Any]) -> None:
        """Note the holder, and since when the record has been the same by our own clock."""
        spec = lease.get("spec", {})
        self.leader = spec.get("holderIdentity") or ""
        self.transitions = spec.get("leaseTransitions") or 0
        record = (self.leader, spec.get("renewTime"), self.transitions)
        if self.leader != self._identity:
            self._deadline = 0.0
        if record != self._seen:
            self._seen = record
            self._seen_at = self._clock.monotonic()

    async def _hold(self, lease: dict[str, Any] | None) -> None:
        """Write ourselves into the lease. A conflict means that somebody else was faster; the next try sees who."""
        sent_at = self._clock.monotonic()
        try:
            written = await (self._post() if lease is None else self._put(self._claimed(lease)))
        except ApiError as error:
            if error.status == 409 and not self.leading:
                return
            raise
        self._lease = written
        self._look_at(written)
        self._deadline = sent_at + RENEW_DEADLINE_S

    def _claimed(self, lease: dict[str, Any]) -> dict[str, Any]:
        spec = dict(lease.get("spec", {}))
        now = self._stamp()
        if spec.get("holderIdentity") != self._identity:
            spec["leaseTransitions"] = (spec.get("leaseTransitions") or 0) + 1
            spec["acquireTime"] = now
        spec |= {"holderIdentity": self._identity, "leaseDurationSeconds": int(DURATION_S), "renewTime": now}
        return {**lease, "spec": spec}

    async def _post(self) -> dict[str, Any]:
        now = self._stamp()
        body = {
            "apiVersion": "coordination.k8s.io/v1",
            "kind": "Lease",
            "metadata": {"name": self._name, "namespace": self._namespace},
            "spec": {
                "holderIdentity": self._identity,
                "leaseDurationSeconds": int(DURATION_S),
                "acquireTime": now,
                "renewTime": now,
                "leaseTransitions": 0,
            },
        }
        return _lease(await self._request("POST", LEASES.collection(self._namespace), body))

    async def _put(self, body: dict[str, Any]) -> dict[str, Any]:
        return _lease(await self._request("PUT", LEASES.item(self._namespace, self._name), body))

    async def _request(self, method: str, path: str, body: dict[str, Any] | None = None) -> bytes:
        payload = None if body is None else orjson.dumps(body)
        return await self._transport.request(method, path, body=payload, timeout_s=REQUEST_S)

    def _stamp(self) -> str:
        return self._clock.now().strftime("%Y-%m-%dT%H:%M:%S.%fZ")

    @staticmethod
    def _duration(lease: dict[str, Any]) -> float:
        """Return how long the record must stand still before it may be taken: never less than its holder was told."""
        named = lease.get("spec", {}).get("leaseDurationSeconds")
        return float(named) if isinstance(named, int) and named > 0 else DURATION_S

    async def _watch_deadline(self) -> None:
        """Notice at once when the deadline passes while a renewal hangs."""
        while True:
            left = self._deadline - self._clock.monotonic()
            if left <= 0:
                self._tell()
                left = RETRY_S
            await self._clock.sleep(left)

    def _tell(self) -> None:
        leading = self.leading
        if leading == self._told:
            return
        self._told = leading
        fields = {"identity": self._identity, "transitions": self.transitions}
        logger.info("lease.acquired" if leading else "lease.lost", extra={"fields": fields})
        for listener in self._listeners:
            listener(leading)


def _lease(payload: bytes) -> dict[str, Any]:
    lease: dict[str, Any] = orjson.loads(payload)
    return lease
