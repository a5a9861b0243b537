"""The command line: ``python3 -m deploy.fleet VERB``."""

import argparse
import signal
from collections.abc import Sequence

from deploy.fleet import controlplane, instance, simulated
from deploy.kind.console import Problem, say
from deploy.kind.paths import cache

_DEFAULT_NAME = "fleet"
_DEFAULT_POOLS = ("v6e:4x4=8", "v5p:2x2x2=4", "h100=4")


def main(words: Sequence[str]) -> int:
    """Run one verb; returns the exit code."""
    signal.signal(signal.SIGPIPE, signal.SIG_DFL)
    parsed = _parser().parse_args(words)
    try:
        return int(parsed.verb(parsed))
    except Problem as problem:
        say(f"error: {problem}")
        return 1


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(prog="python3 -m deploy.fleet", description=__doc__)
    verbs = parser.add_subparsers(required=True, metavar="VERB")
    for name, verb, text in (
        ("up", _up, "start the control plane and its simulated nodes"),
        ("down", _down, "stop it and remove its data"),
        ("status", _status, "show it; exit code 0 if it is whole"),
        ("kubeconfig", _kubeconfig, "print the path of the kubeconfig"),
    ):
        added = verbs.add_parser(name, help=text, description=text)
        added.set_defaults(verb=verb)
        added.add_argument("--name", default=_DEFAULT_NAME, help="instance name")
        if name == "up":
            added.add_argument("--spot", action="store_true", help="label and taint the nodes as Spot")
            added.add_argument(
                "--pools", action="append", metavar="SHAPE[:TOPOLOGY][=COUNT]",
                help=f"node pools, may be repeated (default: {' '.join(_DEFAULT_POOLS)})",
            )  # fmt: skip
    return parser


def _up(parsed: argparse.Namespace) -> int:
    wanted = [simulated.parse(one) for one in parsed.pools or _DEFAULT_POOLS]
    controlplane.up(parsed.name, wanted, cache(), spot=parsed.spot)
    return 0


def _down(parsed: argparse.Namespace) -> int:
    controlplane.down(parsed.name, cache())
    return 0


def _status(parsed: argparse.Namespace) -> int:
    own = _known(parsed.name)
    for role, runs in controlplane.running(own).items():
        print(f"{role:<24} {'runs' if runs else 'is off'}")
    if not controlplane.whole(own):
        return 1
    ready, total = controlplane.count_nodes(own, cache())
    print(f"server      {own.server}\nkubeconfig  {own.kubeconfig}\nnodes       {ready} of {total} ready")
    return 0 if ready == total else 1


def _kubeconfig(parsed: argparse.Namespace) -> int:
    print(_known(parsed.name).kubeconfig)
    return 0


def _known(name: str) -> instance.Instance:
    own = instance.known(name, cache())
    if own is None:
        raise Problem(f"there is no control plane {name}: python3 -m deploy.fleet up --name {name}")
    return own
