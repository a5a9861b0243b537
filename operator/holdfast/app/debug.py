"""`/debug/state`: what is going on inside one replica, in words and numbers.

It is bounded however many objects there are: counts and the worst few of everything, the objects in pages
(`limit`, `after`), and with `object` one of them as a whole. It holds names, reasons and messages; never a spec, a
manifest, a token or a certificate.
"""

from __future__ import annotations

from bisect import bisect_right
from collections import Counter
from collections.abc import Iterable, Mapping
from datetime import datetime

from holdfast.app import process
from holdfast.app.engine import Engine
from holdfast.app.kinds import Registration
from holdfast.app.reconcile import Memory
from holdfast.cluster.objects import Key
from holdfast.planning.observed import CustomObject, Pod, Received
from holdfast.reports.commands import CommandBoard
from holdfast.reports.inbox import Inbox
from holdfast.seams import Clock

SAMPLE = 20
PAGE = 100
LARGEST_PAGE = 1000
PODS_SHOWN = 200
TASK_NAMES = 50

Shown = dict[str, object]


class BadQuestion(Exception):
    """A parameter is wrong. The message says what it must be."""


class Inside:
    """Looks into one replica. Reading changes nothing."""

    def __init__(self, identity: str, engine: Engine, inbox: Inbox, commands: CommandBoard, clock: Clock) -> None:
        self._identity = identity
        self._engine = engine
        self._inbox = inbox
        self._commands = commands
        self._clock = clock

    def answer(self, query: Mapping[str, str]) -> Shown:
        """Return what a request asks for. Raises `BadQuestion`, and `LookupError` for an object that is not there."""
        unknown = sorted(set(query) - {"object", "limit", "after"})
        if unknown:
            raise BadQuestion(f"{unknown[0]} is no parameter: use object, or limit and after")
        if "object" in query:
            return self.object(*_place(query["object"], "object"))
        limit = query.get("limit", str(PAGE))
        if not limit.isdigit() or not 0 <= int(limit) <= LARGEST_PAGE:
            raise BadQuestion(f"limit must be a whole number from 0 to {LARGEST_PAGE}")
        return self.state(int(limit), _place(query["after"], "after") if "after" in query else ("", ""))

    def state(self, limit: int = PAGE, after: Key = ("", "")) -> Shown:
        """Return the whole replica, and the objects behind `after`."""
        engine = self._engine
        return {
            "identity": self._identity,
            "now": _text(self._clock.now()),
            "leader": engine.elector.leader,
            "leading": engine.elector.leading,
            "leadingSince": _text(engine.reconciler.leading_since),
            "lease": {
                "transitions": engine.elector.transitions,
                "leftSeconds": round(engine.elector.left_s(), 3),
                "silentSeconds": round(engine.elector.silence_s(), 3),
            },
            "queue": self._queue(),
            "caches": self._caches(),
            "expecting": {
                "objects": len(engine.watched.expectations),
                "sample": engine.watched.expectations.look(SAMPLE),
            },
            "waiting": self._waits(),
            "passes": engine.history.told(),
            "reports": self._reports(),
            "process": {
                "tasks": dict(Counter(process.tasks()).most_common(TASK_NAMES)),
                "threads": process.threads(),
                "sockets": process.sockets(),
                "loopLateSeconds": round(engine.heartbeat.worst_s(), 3),
                "deadTasks": engine.dead_tasks(),
            },
            "objects": {
                registration.resource.plural: self._page(registration, limit, after)
                for registration in engine.watched.registrations.values()
            },
        }

    def object(self, namespace: str, name: str) -> Shown:
        """Return all about one object of any of our kinds. Raises `LookupError`."""
        key = (namespace, name)
        for registration in self._engine.watched.registrations.values():
            found = self._engine.watched.objects[registration.resource].get(*key)
            pods = self._engine.watched.pods_of(registration, key)
            if found is not None or pods:
                return self._one(registration, key, found, pods)
        raise LookupError(f"there is no object {namespace}/{name}, and no pod of one")

    def _one(self, registration: Registration, key: Key, found: CustomObject | None, pods: list[Pod]) -> Shown:
        engine, watched = self._engine, self._engine.watched
        memory = engine.reconciler.memories().get((registration, key))
        uid = found.metadata.uid if found is not None else ""
        return {
            "kind": registration.resource.kind,
            "object": None if found is None else _of_object(found),
            "queue": engine.queue.standing((registration, key)),
            "expecting": watched.expectations.look_at(uid),
            "memory": None if memory is None else _of_memory(memory),
            "services": [item.metadata.name for item in watched.services_of(registration, key)],
            "podCount": len(pods),
            "pods": [self._of_pod(pod) for pod in pods[:PODS_SHOWN]],
        }

    def _of_pod(self, pod: Pod) -> Shown:
        received = self._inbox.newest(pod.metadata.uid)
        return {
            "name": pod.metadata.name,
            "uid": pod.metadata.uid,
            "attempt": pod.attempt,
            "slot": pod.slot,
            "phase": pod.status.phase,
            "node": pod.spec.node_name,
            "nodeIsKnown": pod.spec.node_name in self._engine.watched.node_objects,
            "deletedAt": _text(pod.metadata.deletion_timestamp),
            "commands": [command.kind for command in self._commands.of(pod.metadata.uid)],
            "report": None if received is None else self._of_report(received),
        }

    def _of_report(self, received: Received) -> Shown:
        report = received.report
        return {
            "ageSeconds": round((self._clock.now() - received.at).total_seconds(), 3),
            "role": report.role,
            "phase": report.phase,
            "store": report.store.reason,
            "health": report.health.reason,
            "run": report.run,
            "round": report.round,
            "restoredStep": report.restored_step,
            "step": report.progress.step,
            "lastComplete": report.last_complete,
            "partWritten": report.part_written,
            "committed": report.committed,
            "pendingBytes": report.pending_bytes,
            "waitingFor": report.waiting_for,
            "damages": len(report.damages),
        }

    def _queue(self) -> Shown:
        queue = self._engine.queue
        return {
            "waiting": len(queue),
            "busy": queue.busy,
            "alarms": queue.alarms,
            "backingOff": queue.backing_off,
            "oldestSeconds": round(queue.oldest_s(), 3),
            "longestWaits": [
                {"object": "/".join(key), "seconds": round(seconds, 3)} for (_, key), seconds in queue.waits(SAMPLE)
            ],
            "backOffs": [
                {"object": "/".join(key), "failures": failures, "dueInSeconds": round(due, 3)}
                for (_, key), failures, due in queue.back_offs(SAMPLE)
            ],
        }

    def _caches(self) -> Shown:
        return {
            word: {
                "objects": len(cache),
                "synced": cache.synced,
                "silentSeconds": round(reflector.silence_s(), 3),
                "lists": reflector.relists,
                "oddObjects": reflector.odd_objects,
            }
            for word, (reflector, cache) in self._engine.watched.followed().items()
        }

    def _waits(self) -> Shown:
        """Return how many objects wait for what, the longest first."""
        since: dict[str, datetime] = {}
        count: Counter[str] = Counter()
        for memory in self._engine.reconciler.memories().values():
            if memory.waiting is not None:
                what, at = memory.waiting
                count[what] += 1
                since[what] = min(at, since.get(what, at))
        return {what: {"objects": number, "since": _text(since[what])} for what, number in count.most_common(SAMPLE)}

    def _reports(self) -> Shown:
        newest = self._inbox.all()
        now = self._clock.now()
        return {
            "pods": len(newest),
            "accepted": self._inbox.accepted,
            "stale": self._inbox.stale,
            "oldestSeconds": round(max(((now - one.at).total_seconds() for one in newest), default=0.0), 3),
            "phases": dict(Counter(one.report.phase for one in newest)),
            "commandedPods": len(self._commands),
        }

    def _page(self, registration: Registration, limit: int, after: Key) -> Shown:
        keys = self._engine.watched.objects[registration.resource].sorted_keys()
        begin = bisect_right(keys, after)
        page = keys[begin : begin + limit]
        memories = self._engine.reconciler.memories()
        more = begin + len(page) < len(keys)
        return {
            "count": len(keys),
            "after": "/".join(page[-1]) if more and page else None,
            "items": [self._row(registration, key, memories.get((registration, key))) for key in page],
        }

    def _row(self, registration: Registration, key: Key, memory: Memory | None) -> Shown:
        found = self._engine.watched.objects[registration.resource].get(*key)
        status: Mapping[str, object] = found.status if found is not None else {}
        return {
            "object": "/".join(key),
            "phase": status.get("phase"),
            "reason": status.get("reason"),
            "waiting": memory.waiting[0] if memory is not None and memory.waiting is not None else None,
            "refusals": len(memory.refusals) if memory is not None else 0,
        }


def _of_object(found: CustomObject) -> Shown:
    meta, status = found.metadata, found.status
    return {
        "uid": meta.uid,
        "resourceVersion": meta.resource_version,
        "generation": meta.generation,
        "createdAt": _text(meta.creation_timestamp),
        "deletedAt": _text(meta.deletion_timestamp),
        "finalizers": list(meta.finalizers),
        "status": {word: status.get(word) for word in ("phase", "reason", "message", "attempt", "restarts", "workers")},
        "conditions": [
            {word: one.get(word) for word in ("type", "status", "reason", "lastTransitionTime")}
            for one in _dicts(status.get("conditions"))
        ],
    }


def _of_memory(memory: Memory) -> Shown:
    dry_run = memory.dry_run
    return {
        "current": memory.current,
        "putOff": None
        if memory.put_off is None
        else {"problem": memory.put_off.problem, "since": _text(memory.put_off.since)},
        "waiting": None if memory.waiting is None else {"for": memory.waiting[0], "since": _text(memory.waiting[1])},
        "refusals": [f"{item.name}: {item.code} {item.reason}" for item in memory.refusals[:SAMPLE]],
        "dryRun": None if dry_run is None else {"key": dry_run.key, "code": dry_run.code, "reason": dry_run.reason},
        "refreshedAt": _text(memory.refreshed_at),
        "commandedPods": len(memory.commanded),
        "lastPass": None if memory.last is None else memory.last.told(),
    }


def _dicts(value: object) -> list[Mapping[str, object]]:
    return [one for one in value if isinstance(one, Mapping)] if isinstance(value, Iterable) else []


def _place(text: str, parameter: str) -> Key:
    namespace, slash, name = text.partition("/")
    if not slash or not namespace or not name or "/" in name:
        raise BadQuestion(f"{parameter} must be NAMESPACE/NAME")
    return namespace, name


def _text(at: datetime | None) -> str | None:
    return None if at is None else at.isoformat(timespec="milliseconds")
