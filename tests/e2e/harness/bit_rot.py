"""Damage that a bucket would not notice: bytes change, and everything that describes them stays."""

from __future__ import annotations

import shlex

from deploy.demo.lab import Lab

# Where the local cluster's bucket server keeps objects as files, on the control-plane node.
_FILES = "/var/lib/holdfast-bucket"


def flip_a_byte(lab: Lab, name: str) -> None:
    """Change the first byte of an object of the local bucket, in the file behind the server."""
    path = shlex.quote(f"{_FILES}/{lab.bucket.name}/{name}")
    # The server takes an object's generation from the file's time of change, which rot leaves alone.
    script = (
        f"set -e; test -s {path}; touch -r {path} /tmp/rot-time; "
        f"printf '\\377' | dd of={path} bs=1 count=1 conv=notrunc status=none; touch -r /tmp/rot-time {path}"
    )
    before = lab.bucket.read(name)
    lab.kube.docker("exec", lab.kube.nodes()[0], "sh", "-c", script)
    after = lab.bucket.read(name)
    assert len(after) == len(before), "the object's size has changed"
    assert after != before, "the object's first byte was 0xff already"
