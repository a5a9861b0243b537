"""Runs in place of runc where root lacks a capability: asks runc only for the capabilities that can be had.

Docker gives a privileged container every capability it knows, and runc fails if one of them is not in root's
bounding set. The list of those to leave out is in HOLDFAST_DROP (comma separated, baked into the launcher beside
the engine), runc's path in HOLDFAST_RUNC. It edits what runc is about to read: the bundle's config.json for
``create`` and ``run``, the process file for ``exec``.
"""

import json
import os
import sys
from pathlib import Path


def option(words: list[str], *names: str) -> str | None:
    """Value of the first of the options that is given, as ``--name value`` or ``--name=value``."""
    for index, word in enumerate(words):
        for name in names:
            if word == name and index + 1 < len(words):
                return words[index + 1]
            if word.startswith(f"{name}="):
                return word[len(name) + 1 :]
    return None


def restrict(process: dict[str, object], drop: frozenset[str]) -> None:
    """Take ``drop`` out of a process's capability sets, and a negative OOM score, which needs one of them."""
    capabilities = process.get("capabilities")
    if isinstance(capabilities, dict):
        for name, held in capabilities.items():
            capabilities[name] = [one for one in held if one not in drop]
    score = process.get("oomScoreAdj")
    if isinstance(score, int) and score < 0:
        del process["oomScoreAdj"]


def rewrite(words: list[str], drop: frozenset[str]) -> None:
    """Edit the file that this call of runc will read, if it reads one."""
    bundle = option(words, "--bundle", "-b")
    process_file = option(words, "--process", "-p")
    if ("create" in words or "run" in words) and bundle is not None:
        path = Path(bundle) / "config.json"
        config = json.loads(path.read_text())
        restrict(config["process"], drop)
        path.write_text(json.dumps(config))
    elif "exec" in words and process_file is not None:
        path = Path(process_file)
        process = json.loads(path.read_text())
        restrict(process, drop)
        path.write_text(json.dumps(process))


if __name__ == "__main__":
    rewrite(sys.argv[1:], frozenset(os.environ["HOLDFAST_DROP"].split(",")))
    os.execv(os.environ["HOLDFAST_RUNC"], ["runc", *sys.argv[1:]])
