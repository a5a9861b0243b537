"""Health that tells the truth, on a server of its own: `/healthz`, `/readyz`, `/metrics`, `/debug/state`.

Live: every task that should run for ever does, watches and the lease are heard of, the event loop is in time, and no
key waits for ages. Ready: the caches are filled and the report endpoint is up; a follower is ready too. An API server
that is away does not make the operator unhealthy for `SILENT_S`: starting anew would not bring it back. A loop that
stands still altogether does not even answer, which the kubelet takes for the same.
"""

from __future__ import annotations

import orjson
from aiohttp import web

from holdfast.app.debug import BadQuestion, Inside
from holdfast.app.engine import Engine
from holdfast.app.metrics import Metrics
from holdfast.reports.service import ReportService

SILENT_S = 600.0
STUCK_S = 300.0
# Two requests of at most 4 s and a pause of 2 s make one try.
LEASE_STUCK_S = 60.0


class HealthServer:
    """Serves health, metrics and a look inside."""

    def __init__(self, engine: Engine, metrics: Metrics, reports: ReportService, inside: Inside) -> None:
        self._engine = engine
        self._metrics = metrics
        self._reports = reports
        self._inside = inside
        self._runner: web.AppRunner | None = None
        self.port = 0

    async def start(self, port: int) -> None:
        """Listen on all addresses; `port` 0 takes a free one of IPv4 and tells it in `port`."""
        app = web.Application()
        app.router.add_get("/healthz", self._healthz)
        app.router.add_get("/readyz", self._readyz)
        app.router.add_get("/metrics", self._render_metrics)
        app.router.add_get("/debug/state", self._debug)
        self._runner = web.AppRunner(app, access_log=None, handle_signals=False)
        await self._runner.setup()
        site = web.TCPSite(self._runner, port=port)
        await site.start()
        # With port 0 each address family gets a port of its own.
        self.port = next(address[1] for address in sorted(self._runner.addresses, key=lambda item: ":" in item[0]))

    async def stop(self) -> None:
        """Stop listening."""
        if self._runner is not None:
            await self._runner.cleanup()

    def problems(self) -> list[str]:
        """Return why the process should be started anew; empty while it is alive."""
        engine = self._engine
        found = [f"task {name} has ended" for name in engine.dead_tasks()]
        found += [
            f"the watch of {word} has been silent for {reflector.silence_s():.0f} s"
            for word, (reflector, _) in engine.watched.followed().items()
            if reflector.silence_s() > SILENT_S
        ]
        if (silent := engine.elector.silence_s()) > SILENT_S:
            found.append(f"the lease could be neither read nor renewed for {silent:.0f} s")
        if (stuck := engine.elector.stuck_s()) > LEASE_STUCK_S:
            found.append(f"no try to take or renew the lease has ended for {stuck:.0f} s")
        if (late := engine.heartbeat.stalled_s()) > 0:
            found.append(f"the event loop is always late, now by {late:.0f} s or more")
        if self._reports.dead():
            found.append("the report endpoint has ended")
        if (oldest := engine.queue.oldest_s()) > STUCK_S:
            found.append(f"an object has waited {oldest:.0f} s for a worker")
        return found

    def unready(self) -> list[str]:
        """Return why this replica cannot serve yet."""
        found = [
            f"the cache of {word} is not filled yet"
            for word, (_, cache) in self._engine.watched.followed().items()
            if not cache.synced
        ]
        if not self._reports.up:
            found.append("the report endpoint does not listen yet")
        return found

    async def _healthz(self, _: web.Request) -> web.Response:
        return _verdict(self.problems())

    async def _readyz(self, _: web.Request) -> web.Response:
        return _verdict(self.unready())

    async def _render_metrics(self, _: web.Request) -> web.Response:
        return web.Response(body=self._metrics.render(), headers={"Content-Type": "text/plain; version=0.0.4"})

    async def _debug(self, request: web.Request) -> web.Response:
        status = 200
        try:
            answer = self._inside.answer(request.query)
        except BadQuestion as error:
            status, answer = 400, {"error": str(error)}
        except LookupError as error:
            status, answer = 404, {"error": str(error)}
        body = orjson.dumps(answer, default=str, option=orjson.OPT_INDENT_2 | orjson.OPT_NON_STR_KEYS)
        return web.Response(body=body, status=status, content_type="application/json")


def _verdict(problems: list[str]) -> web.Response:
    body = orjson.dumps({"ok": not problems, "problems": problems})
    return web.Response(body=body, status=503 if problems else 200, content_type="application/json")
