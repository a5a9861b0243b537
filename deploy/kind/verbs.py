"""The command line: ``python3 -m deploy.kind VERB``."""

import argparse
import os
import shlex
import signal
from collections.abc import Callable, Sequence
from pathlib import Path

from deploy.kind import addons, cluster, diagnosis, faults, hostdeps, loading, provider
from deploy.kind.console import Problem, say
from deploy.kind.digests import locked
from deploy.kind.kube import Kube
from deploy.kind.paths import cache

_DEFAULT_NAME = "holdfast"
Verb = Callable[[argparse.Namespace], int]


def main(words: Sequence[str]) -> int:
    """Run one verb; returns the exit code."""
    # A reader that has seen enough (``| head``) is no error.
    signal.signal(signal.SIGPIPE, signal.SIG_DFL)
    parsed = _parser().parse_args(words)
    verb: Verb = parsed.verb
    try:
        return verb(parsed)
    except Problem as problem:
        say(f"error: {problem}")
        return 1
    except KeyboardInterrupt:
        say("interrupted: the next up cleans up what is left")
        return 130


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(prog="python3 -m deploy.kind", description=__doc__)
    verbs = parser.add_subparsers(required=True, metavar="VERB")

    def add(name: str, verb: Verb, text: str) -> argparse.ArgumentParser:
        added = verbs.add_parser(name, help=text, description=text)
        added.set_defaults(verb=verb)
        added.add_argument("--name", default=os.environ.get("HOLDFAST_CLUSTER", _DEFAULT_NAME), help="cluster name")
        return added

    add("deps", _deps, "install the Debian packages that are missing on this machine")
    add("build", _build, "build and cache all that is slow: Go programs, images")
    add("up", _up, "bring the cluster up").add_argument("--workers", type=int, default=2)
    add("down", _down, "take the cluster away, with all that it left on the machine")
    add("status", _status, "show the cluster; exit code 0 if it is whole")
    add("load", _load, "load image archives into all nodes").add_argument("archive", nargs="+", type=Path)
    for name, verb, text in (
        ("docker", _docker, "run the docker CLI against the right engine"),
        ("run", _run, "run a command with KUBECONFIG and all programs on PATH"),
    ):
        add(name, verb, text).add_argument("words", nargs=argparse.REMAINDER)
    add("env", _env, "print export lines for a shell")
    add("kubeconfig", _kubeconfig, "print the path of the kubeconfig")
    add("bucket-url", _bucket_url, "print the bucket server's address as the host reaches it")
    add("logs", _logs, "write all logs into a folder").add_argument("folder", type=Path)
    for name, fault, text in (
        ("node-off", faults.power_off, "power a worker off and delete its Node object"),
        ("node-partition", faults.partition, "cut a worker's network"),
        ("node-on", faults.bring_back, "bring a worker back from either"),
    ):
        add(name, _fault(fault), text).add_argument("number", type=int, metavar="N")
    return parser


def _deps(_: argparse.Namespace) -> int:
    hostdeps.ensure()
    return 0


def _build(_: argparse.Namespace) -> int:
    cluster.build(cache())
    return 0


def _up(parsed: argparse.Namespace) -> int:
    cluster.up(parsed.name, parsed.workers, cache())
    return 0


def _down(parsed: argparse.Namespace) -> int:
    cluster.down(parsed.name, cache())
    return 0


def _status(parsed: argparse.Namespace) -> int:
    return 0 if cluster.status(parsed.name, cache()) else 1


def _load(parsed: argparse.Namespace) -> int:
    kube = cluster.attach(parsed.name, cache())
    with locked(kube.state.lock):
        loading.load(kube, parsed.archive)
    return 0


def _docker(parsed: argparse.Namespace) -> int:
    own = cache()
    chosen = provider.provide(provider.choose(own), own)
    _become(["docker", *parsed.words], chosen.environment())
    return 1


def _run(parsed: argparse.Namespace) -> int:
    words = parsed.words[1:] if parsed.words[:1] == ["--"] else parsed.words
    if not words:
        raise Problem("run needs a command: python3 -m deploy.kind run -- kubectl get pods")
    _become(words, _environment(cluster.attach(parsed.name, cache())))
    return 1


def _env(parsed: argparse.Namespace) -> int:
    kube = cluster.attach(parsed.name, cache())
    wanted = _environment(kube)
    for name in ("KUBECONFIG", "DOCKER_HOST", "HOLDFAST_CLUSTER", "HOLDFAST_BUCKET_URL", "PATH"):
        if name in wanted:
            print(f"export {name}={shlex.quote(wanted[name])}")
    return 0


def _kubeconfig(parsed: argparse.Namespace) -> int:
    print(cluster.attach(parsed.name, cache()).state.kubeconfig)
    return 0


def _bucket_url(parsed: argparse.Namespace) -> int:
    print(addons.bucket_url(cluster.attach(parsed.name, cache())))
    return 0


def _logs(parsed: argparse.Namespace) -> int:
    diagnosis.export(cluster.attach(parsed.name, cache()), parsed.folder)
    print(parsed.folder)
    return 0


def _fault(act: Callable[[Kube, int], None]) -> Verb:
    def verb(parsed: argparse.Namespace) -> int:
        kube = cluster.attach(parsed.name, cache())
        with locked(kube.state.lock):
            act(kube, parsed.number)
        return 0

    return verb


def _environment(kube: Kube) -> dict[str, str]:
    return {
        **kube.environment(),
        "HOLDFAST_CLUSTER": kube.state.name,
        "HOLDFAST_BUCKET_URL": addons.bucket_url(kube),
    }


def _become(words: list[str], environment: dict[str, str]) -> None:
    """Replace this process by the command, so that its signals, output and exit code are the command's own."""
    try:
        os.execvpe(words[0], words, environment)
    except OSError as error:
        raise Problem(f"cannot run {words[0]}: {error.strerror}") from error
