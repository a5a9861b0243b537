"""Image archives are sound by the OCI layout's own rules: every digest is that of its blob."""

from __future__ import annotations

import hashlib
import io
import json
import tarfile
from pathlib import Path
from typing import Any

from deploy.kind.oci import Image, Link, write_archive, write_layer


def blobs_of(archive: Path) -> dict[str, bytes]:
    with tarfile.open(archive) as tar:
        return {one.name: (tar.extractfile(one) or io.BytesIO()).read() for one in tar.getmembers()}


def decoded(blobs: dict[str, bytes], digest: str) -> dict[str, Any]:
    loaded: dict[str, Any] = json.loads(blobs[f"blobs/sha256/{digest.removeprefix('sha256:')}"])
    return loaded


def test_a_layer_has_parents_links_and_programs(tmp_path: Path) -> None:
    program = tmp_path / "program"
    program.write_bytes(b"\x7fELF")
    layer = write_layer(
        tmp_path / "layer.tar", {"usr/bin/program": program, "bin/sh": Link("busybox"), "tmp/.keep": b""}
    )
    with tarfile.open(layer) as tar:
        entries = {one.name: one for one in tar.getmembers()}
    assert entries["usr/bin/program"].mode == 0o755
    assert entries["usr/bin/program"].size == 4
    assert entries["bin/sh"].linkname == "busybox"
    assert entries["usr"].isdir()
    assert entries["tmp"].mode == 0o1777
    assert list(entries).index("usr") < list(entries).index("usr/bin") < list(entries).index("usr/bin/program")


def test_every_digest_and_size_is_true_and_shared_layers_are_stored_once(tmp_path: Path) -> None:
    base = write_layer(tmp_path / "base.tar", {"etc/os-release": b"base"})
    own = write_layer(tmp_path / "own.tar", {"program": b"own"})
    archive = tmp_path / "images.tar"
    images = [Image(("localhost/a:1", "localhost/a:2"), (base, own), ("/program",)), Image(("b:1",), (base,), ("x",))]
    write_archive(archive, images, "amd64")
    blobs = blobs_of(archive)
    for name, data in blobs.items():
        if name.startswith("blobs/"):
            assert name == f"blobs/sha256/{hashlib.sha256(data).hexdigest()}"
    index = json.loads(blobs["index.json"])
    names = [one["annotations"]["io.containerd.image.name"] for one in index["manifests"]]
    assert names == ["localhost/a:1", "localhost/a:2", "b:1"]
    for described in index["manifests"]:
        manifest = decoded(blobs, described["digest"])
        config = decoded(blobs, manifest["config"]["digest"])
        assert [layer["digest"] for layer in manifest["layers"]] == config["rootfs"]["diff_ids"]
        for layer in manifest["layers"]:
            assert layer["size"] == len(blobs[f"blobs/sha256/{layer['digest'].removeprefix('sha256:')}"])
    # two layers, two configs, two manifests
    assert sum(name.startswith("blobs/") for name in blobs) == 6


def test_the_architecture_is_called_as_go_calls_it(tmp_path: Path) -> None:
    layer = write_layer(tmp_path / "layer.tar", {"x": b""})
    write_archive(tmp_path / "images.tar", [Image(("a:1",), (layer,), ("x",))], "ppc64el")
    blobs = blobs_of(tmp_path / "images.tar")
    manifest = decoded(blobs, json.loads(blobs["index.json"])["manifests"][0]["digest"])
    assert decoded(blobs, manifest["config"]["digest"])["architecture"] == "ppc64le"
