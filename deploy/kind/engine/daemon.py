"""Start and stop of the project's own dockerd, of which there is at most one a user and machine."""

import os
import shutil
import signal
import stat
import subprocess
import sys
from dataclasses import dataclass
from pathlib import Path

from deploy.kind import debian, hostdeps
from deploy.kind.console import Problem, say, step
from deploy.kind.digests import key_of, locked
from deploy.kind.engine import addresses, capabilities, limits, link, residue
from deploy.kind.engine.addresses import Addresses
from deploy.kind.paths import Cache
from deploy.kind.process import ProcessRecord, run, succeeds, wait_for

_HERE = Path(__file__).resolve().parent
_SYSTEM_PATH = "/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin"
_PROXIES = {"HTTP_PROXY", "HTTPS_PROXY", "NO_PROXY"}
# The engine outlives this program, and nobody waits for it: kept, so that Python does not warn of a forgotten child.
_left_running: list[subprocess.Popen[bytes]] = []


@dataclass(frozen=True)
class Engine:
    """The engine of one cache."""

    cache: Cache

    @property
    def ident(self) -> str:
        """Six hexadecimal digits that tell this engine's links and cgroups from those of another user's."""
        return key_of([str(self.cache.root)])[:6]

    @property
    def cgroup(self) -> str:
        """Name of the cgroup that holds all of the engine's containers."""
        return f"holdfast-{self.ident}"

    def pid(self) -> int | None:
        """Process id of the running engine's outermost process, whose network namespace is the engine's."""
        record = ProcessRecord.read(self._record)
        return record.pid if record is not None and record.alive() else None

    def addresses(self) -> Addresses:
        """The engine's networks.

        Raises:
            Problem: if it has never run.
        """
        found = addresses.load(self.cache.engine / "slot")
        if found is None:
            raise Problem("the project's Docker engine has not been started: python3 -m deploy.kind up")
        return found

    def programs(self) -> Path:
        """Folder of the unpacked engine."""
        return debian.unpacked("engine", debian.ENGINE_PACKAGES, self.cache)

    def environment(self) -> dict[str, str]:
        """Environment in which the docker CLI talks to this engine."""
        kept = {name: value for name, value in os.environ.items() if name.upper() not in _PROXIES}
        path = f"{self.programs() / 'usr/bin'}:{kept.get('PATH', _SYSTEM_PATH)}:/usr/sbin:/sbin"
        return {**kept, "PATH": path, "DOCKER_HOST": f"unix://{self.cache.socket()}"}

    def enter(self) -> list[str]:
        """Command prefix that enters the engine's network namespace.

        Raises:
            Problem: if the engine does not run.
        """
        pid = self.pid()
        if pid is None:
            raise Problem("the project's Docker engine does not run: python3 -m deploy.kind up starts it")
        return link.inside(pid)

    def answers(self) -> bool:
        """Whether dockerd answers on its socket."""
        version = ["docker", "version", "--format", "{{.Server.Version}}"]
        return self.pid() is not None and succeeds(version, timeout_s=10, env=self.environment())

    def start(self) -> None:
        """Start the engine unless it runs already; cleans up what a killed one left.

        Raises:
            Problem: if the caller is not root, or dockerd does not come up; shows the end of its log.
        """
        hostdeps.require_root()
        with locked(self.cache.engine / ".lock"):
            if self.answers():
                return
            self._stop()
            programs = self.programs()
            with step("start the project's own Docker engine"):
                networks = self._choose_networks()
                residue.note_modules_folder(self.cache.engine / "made-lib-modules")
                limits.raise_inotify()
                self._launch(programs)
                self._wait_until_up()
                self._remove_stale_nodes()
                self._make_node_network(networks)
                pid = self.pid()
                if pid is None:
                    raise Problem(f"dockerd died as soon as it was up; its log is {self._log}")
                link.connect(self.ident, pid, networks)

    def stop(self) -> None:
        """Stop the engine and remove everything it made outside its cache; safe to repeat."""
        with locked(self.cache.engine / ".lock"):
            if self.pid() is not None:
                say("stop the project's own Docker engine")
            self._stop()

    @property
    def _record(self) -> Path:
        return self.cache.engine / "process.json"

    @property
    def _log(self) -> Path:
        return self.cache.engine / "dockerd.log"

    def _stop(self) -> None:
        record = ProcessRecord.read(self._record)
        if record is not None and record.alive():
            child = record.child()
            if child is not None:
                # First process of the namespace: a polite request, then the kernel ends all that is inside.
                inner = ProcessRecord.of(child, "dockerd")
                inner.kill(signal.SIGTERM)
                _wait_gone(record, 20.0)
                inner.kill(signal.SIGKILL)
            _wait_gone(record, 5.0)
            record.kill(signal.SIGKILL)
            _wait_gone(record, 5.0)
        link.disconnect(self.ident)
        limits.restore_inotify()
        if record is not None:
            residue.remove_cgroups(self.cgroup)
        residue.remove_modules_folder(self.cache.engine / "made-lib-modules")
        for left in (self._record, self.cache.socket()):
            left.unlink(missing_ok=True)

    def _choose_networks(self) -> Addresses:
        kept = addresses.load(self.cache.engine / "slot")
        preferred = kept.slot if kept is not None else int(self.ident, 16) % 64
        chosen = addresses.choose(preferred, addresses.routes())
        (self.cache.engine / "slot").write_text(str(chosen.slot))
        return chosen

    def _launch(self, programs: Path) -> None:
        (self.cache.engine / "daemon.json").write_text("{}")
        env = {
            "PATH": f"{programs / 'usr/bin'}:{programs / 'usr/sbin'}:{_SYSTEM_PATH}",
            "HOME": str(self.cache.engine), "ENGINE": str(self.cache.engine), "ENGINE_PARENT": f"/{self.cgroup}",
            "ENGINE_SOCKET": str(self.cache.socket()), "ENGINE_RUNTIME": self._runtime(programs),
        }  # fmt: skip
        with self._log.open("ab") as log:
            started = subprocess.Popen(
                ["unshare", "--net", "--mount", "--propagation", "private", "--pid", "--fork", "--kill-child",
                 "--mount-proc", "/bin/sh", str(_HERE / "dockerd.sh")],
                stdin=subprocess.DEVNULL, stdout=log, stderr=log, env=env, start_new_session=True,
            )  # fmt: skip
        _left_running.append(started)
        ProcessRecord.of(started.pid, "dockerd.sh").write(self._record)

    def _runtime(self, programs: Path) -> str:
        """Path of the wrapper around runc, or nothing where runc can do all that docker asks of it."""
        drop = capabilities.lacking()
        if not drop:
            return ""
        say(f"root lacks {', '.join(drop)} here: containers are run without it")
        # A copy, since the engine may outlive the clone that started it.
        wrapper = Path(shutil.copy(_HERE / "runc_without_capability.py", self.cache.engine))
        launcher = self.cache.engine / "runc-restricted"
        launcher.write_text(
            f"#!/bin/sh\nexport HOLDFAST_DROP={','.join(drop)} HOLDFAST_RUNC='{programs / 'usr/sbin/runc'}'\n"
            f"exec '{os.path.realpath(sys.executable)}' -IS '{wrapper}' \"$@\"\n"
        )
        launcher.chmod(launcher.stat().st_mode | stat.S_IXUSR)
        return str(launcher)

    def _wait_until_up(self) -> None:
        try:
            wait_for("dockerd answers", self.answers, timeout_s=60)
        except Problem as problem:
            tail = self._log.read_text(errors="replace")[-3000:]
            raise Problem(f"{problem}\nThe end of {self._log}:\n{tail}") from problem

    def _remove_stale_nodes(self) -> None:
        """Remove nodes that a killed engine left: dockerd starts them again, but never as a whole cluster."""
        env = self.environment()
        listed = ["docker", "ps", "--all", "--quiet", "--filter", "label=io.x-k8s.kind.cluster"]
        stale = run(listed, timeout_s=20, env=env).split()
        if stale:
            run(["docker", "rm", "--force", "--volumes", *stale], timeout_s=120, env=env)

    def _make_node_network(self, networks: Addresses) -> None:
        env = self.environment()
        subnet = ["docker", "network", "inspect", "kind", "--format", "{{(index .IPAM.Config 0).Subnet}}"]
        if succeeds(["docker", "network", "inspect", "kind"], timeout_s=20, env=env):
            if run(subnet, timeout_s=20, env=env).strip() == networks.nodes:
                return
            run(["docker", "network", "rm", "kind"], timeout_s=20, env=env)
        # IPv4 only: kind would make one with IPv6 too, for which there is no use here.
        masquerade = "com.docker.network.bridge.enable_ip_masquerade=true"
        create = ["docker", "network", "create", "--subnet", networks.nodes, "--opt", masquerade, "kind"]
        run(create, timeout_s=20, env=env)


def _wait_gone(record: ProcessRecord, seconds: float) -> None:
    try:
        wait_for("the engine is gone", lambda: not record.alive(), timeout_s=seconds, every_s=0.1)
    except Problem:
        say(f"process {record.pid} is still there after {seconds:.0f} s")
