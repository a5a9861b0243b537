"""Image archives into the nodes, once each: an archive that a node already got is not sent again."""

import json
from collections.abc import Sequence
from pathlib import Path

from deploy.kind.console import Problem, say, step
from deploy.kind.digests import file_digest
from deploy.kind.kube import Kube


def load(kube: Kube, archives: Sequence[Path]) -> None:
    """Load image archives (docker or OCI) into every node.

    Raises:
        Problem: if an archive is not there, or a node is off.
    """
    absent = [str(archive) for archive in archives if not archive.is_file()]
    if absent:
        raise Problem(f"no such image archive: {', '.join(absent)}")
    off = set(kube.nodes()) - set(kube.running())
    if off:
        raise Problem(f"{', '.join(sorted(off))} is off: python3 -m deploy.kind node-on N first")
    containers = _container_ids(kube)
    known = _loaded(kube.state.loaded)
    for archive in archives:
        digest = file_digest(archive)
        if known.get(digest) == containers:
            say(f"{archive.name}: every node has it already")
            continue
        with step(f"load {archive.name} ({archive.stat().st_size / 1e6:.0f} MB) into {len(containers)} nodes"):
            kube.kind("load", "image-archive", archive.resolve(), timeout_s=600)
        known[digest] = containers
        kube.state.loaded.write_text(json.dumps(known))


def _container_ids(kube: Kube) -> list[str]:
    listing = kube.docker("inspect", "--format", "{{.Id}}", *kube.nodes())
    return sorted(listing.split())


def _loaded(path: Path) -> dict[str, list[str]]:
    try:
        return {str(digest): list(ids) for digest, ids in json.loads(path.read_text()).items()}
    except (OSError, ValueError, AttributeError):
        return {}
