"""The command line: ``python3 -m deploy.images build | load | tags``."""

import argparse
import json
import os
from collections.abc import Sequence

from deploy.images import build
from deploy.kind.console import Problem, say
from deploy.kind.paths import cache

VERBS = {
    "build": "build the image archives that the cache does not have, and print their paths as JSON",
    "load": "build, then load what the cluster's nodes do not have; print the images' names as JSON",
    "tags": "print the names of the images that the present sources give, as JSON",
}


def main(words: Sequence[str]) -> int:
    """Run one verb; returns the exit code."""
    parser = argparse.ArgumentParser(prog="python3 -m deploy.images", description=__doc__)
    verbs = parser.add_subparsers(required=True, dest="verb", metavar="VERB")
    for verb, text in VERBS.items():
        added = verbs.add_parser(verb, help=text, description=text)
        added.add_argument("--name", default=os.environ.get("HOLDFAST_CLUSTER", "holdfast"), help="cluster name")
    parsed = parser.parse_args(words)
    try:
        print(json.dumps(_run(parsed.verb, parsed.name), indent=2))
    except (Problem, FileNotFoundError) as problem:
        say(f"error: {problem}")
        return 1
    except KeyboardInterrupt:
        say("interrupted: nothing half-made is kept")
        return 130
    return 0


def _run(verb: str, cluster: str) -> dict[str, str]:
    if verb == "build":
        return {name: str(image.archive) for name, image in build.build(cache()).items()}
    if verb == "load":
        return build.load(cluster, cache())
    return build.tags(cache())
