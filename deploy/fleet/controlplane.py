"""Up, down and status of one bare control plane."""

import json
import os
import shutil
import signal
import ssl
import subprocess
import urllib.error
import urllib.request
from collections.abc import Callable, Mapping
from functools import partial

from deploy.fleet import certificates, instance
from deploy.fleet.instance import Instance
from deploy.fleet.parts import Part, parts
from deploy.fleet.simulated import Pools, nodes
from deploy.kind import gotools
from deploy.kind.console import Problem, say, step
from deploy.kind.digests import locked
from deploy.kind.paths import Cache
from deploy.kind.process import Failed, ProcessRecord, run, wait_for

# A graceful end of the API server may take its whole request timeout; nothing here is worth the wait.
_GRACE_S = 3.0
_READY_TIMEOUT_S = 60.0
_ROLES = ("etcd", "kube-apiserver", "kube-controller-manager", "kube-scheduler", "kwok")


def up(name: str, pools: list[Pools], cache: Cache, *, spot: bool = False) -> Instance:
    """Start the control plane unless it runs, and add the nodes that are not there yet.

    Raises:
        Problem: if a part does not come up, with the end of its log.
    """
    with locked(instance.folder_of(name, cache).parent / f".{name}.lock"):
        own = instance.known(name, cache)
        if own is None or not whole(own):
            if own is not None:
                _remove(own)
            own = instance.make(name, cache)
            with step(f"control plane {name}"):
                _start(own, cache)
        else:
            say(f"control plane {name} runs already at {own.server}")
        _add_nodes(own, nodes(pools, spot=spot), cache)
    say(f"control plane {name} is up: export KUBECONFIG={own.kubeconfig}")
    return own


def down(name: str, cache: Cache) -> None:
    """Stop everything and remove its data; safe to repeat."""
    with locked(instance.folder_of(name, cache).parent / f".{name}.lock"):
        own = instance.known(name, cache)
        if own is None:
            say(f"there is no control plane {name}")
            return
        with step(f"take control plane {name} down"):
            _remove(own)
            for handle in _handles:
                handle.poll()


def whole(own: Instance) -> bool:
    """Whether all parts run and the API server is ready."""
    records = [ProcessRecord.read(own.run / f"{role}.json") for role in _ROLES]
    return all(record is not None and record.alive() for record in records) and _answers(own, "/readyz")


def running(own: Instance) -> dict[str, bool]:
    """Which parts run."""
    found = {}
    for role in _ROLES:
        record = ProcessRecord.read(own.run / f"{role}.json")
        found[role] = record is not None and record.alive()
    return found


def count_nodes(own: Instance, cache: Cache) -> tuple[int, int]:
    """Ready nodes and all nodes."""
    listed = json.loads(_kubectl(own, cache, "get", "nodes", "-o", "json"))["items"]
    ready = [
        one
        for one in listed
        if any(c["type"] == "Ready" and c["status"] == "True" for c in one["status"].get("conditions", []))
    ]
    return len(ready), len(listed)


def _start(own: Instance, cache: Cache) -> None:
    certificates.issue_all(own)
    for part in parts(own, cache):
        _launch(own, part)
        if part.name == "etcd":
            _await(own, part, lambda: _etcd_healthy(own))
        elif part.name == "kube-apiserver":
            _await(own, part, lambda: _answers(own, "/readyz"))
    wait_for(
        "the default ServiceAccount", lambda: _answers(own, "/api/v1/namespaces/default/serviceaccounts/default"),
        timeout_s=_READY_TIMEOUT_S,
    )  # fmt: skip


# The parts outlive the commands that start them; a handle that is thrown away warns of a process that still runs.
_handles: list[subprocess.Popen[bytes]] = []


def _launch(own: Instance, part: Part) -> None:
    with (own.logs / f"{part.name}.log").open("ab") as log:
        started = subprocess.Popen(
            part.command, stdin=subprocess.DEVNULL, stdout=log, stderr=log, start_new_session=True, cwd=own.folder,
            env=_environment(),
        )  # fmt: skip
    _handles.append(started)
    ProcessRecord.of(started.pid, part.command[0]).write(own.run / f"{part.name}.json")


def _environment() -> dict[str, str]:
    """The caller's environment without proxies: everything is on the loopback address."""
    environ: Mapping[str, str] = os.environ
    return {name: value for name, value in environ.items() if not name.lower().endswith("_proxy")}


def _await(own: Instance, part: Part, probe: Callable[[], bool]) -> None:
    record = ProcessRecord.read(own.run / f"{part.name}.json")

    def alive_and_ready() -> bool:
        if record is None or not record.alive():
            raise Problem(f"{part.name} ended; the end of its log:\n{_log_tail(own, part.name)}")
        return probe()

    try:
        wait_for(f"{part.name} is ready", alive_and_ready, timeout_s=_READY_TIMEOUT_S, every_s=0.1)
    except Problem:
        _remove_processes(own)
        raise


def _log_tail(own: Instance, name: str) -> str:
    try:
        return (own.logs / f"{name}.log").read_text(errors="replace")[-2000:]
    except OSError as error:
        return str(error)


def _etcd_healthy(own: Instance) -> bool:
    try:
        with urllib.request.urlopen(f"http://127.0.0.1:{own.port('etcd')}/health", timeout=2) as reply:
            return b"true" in reply.read()
    except (urllib.error.URLError, TimeoutError, ConnectionError) as error:
        raise Failed(str(error)) from error


def _answers(own: Instance, path: str) -> bool:
    try:
        context = ssl.create_default_context(cafile=str(own.pki / "ca.crt"))
        context.load_cert_chain(own.pki / "admin.crt", own.pki / "admin.key")
        with urllib.request.urlopen(own.server + path, context=context, timeout=3) as reply:
            return bool(reply.status == 200)
    except (OSError, ssl.SSLError):
        return False


def _add_nodes(own: Instance, wanted: list[dict[str, object]], cache: Cache) -> None:
    if not wanted:
        return
    with step(f"{len(wanted)} simulated nodes"):
        document = json.dumps({"apiVersion": "v1", "kind": "List", "items": wanted})
        _kubectl(own, cache, "apply", "--server-side", "--force-conflicts", "-f", "-", stdin=document, timeout_s=600)
        wait_for(
            "all nodes are Ready", lambda: count_nodes(own, cache)[0] >= len(wanted),
            timeout_s=60 + 0.1 * len(wanted), every_s=1.0,
        )  # fmt: skip


def _kubectl(own: Instance, cache: Cache, *words: str, stdin: str | None = None, timeout_s: float = 60) -> str:
    kubectl = gotools.ensure(gotools.KUBECTL, cache) / "kubectl"
    env = {**_environment(), "KUBECONFIG": str(own.kubeconfig)}
    return run([kubectl, *words], timeout_s=timeout_s, env=env, stdin=stdin)


def _remove(own: Instance) -> None:
    _remove_processes(own)
    shutil.rmtree(own.folder, ignore_errors=True)


def _remove_processes(own: Instance) -> None:
    for role in reversed(_ROLES):
        record = ProcessRecord.read(own.run / f"{role}.json")
        if record is None:
            continue
        for number, seconds in ((signal.SIGTERM, _GRACE_S), (signal.SIGKILL, _GRACE_S)):
            record.kill(number)
            try:
                wait_for(f"{role} is gone", partial(_gone, record), timeout_s=seconds, every_s=0.05)
                break
            except Problem:
                continue


def _gone(record: ProcessRecord) -> bool:
    return not record.alive()
