"""Image archives in the OCI layout, written without a builder or a registry.

Layout and media types are those of the OCI image specification 1.0; the annotation that names an image is the
one that containerd's importer reads.
"""

import hashlib
import io
import json
import tarfile
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

_INDEX = "application/vnd.oci.image.index.v1+json"
_MANIFEST = "application/vnd.oci.image.manifest.v1+json"
_CONFIG = "application/vnd.oci.image.config.v1+json"
_LAYER = "application/vnd.oci.image.layer.v1.tar"
_PATH = "PATH=/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin"
# Go's names for Debian's architectures where the two differ.
_GO_ARCHITECTURE = {"armhf": "arm", "i386": "386", "ppc64el": "ppc64le"}


@dataclass(frozen=True)
class Image:
    """An image: all its names, its layers (tar files, lowest first) and the program it starts."""

    names: tuple[str, ...]
    layers: tuple[Path, ...]
    entrypoint: tuple[str, ...]


@dataclass(frozen=True)
class Link:
    """A symbolic link in a layer."""

    to: str


def write_layer(target: Path, files: Mapping[str, Path | Link | bytes]) -> Path:
    """Write a layer with the given files, all executable and owned by root; parents are made."""
    with tarfile.open(target, "w") as tar:
        seen: set[str] = set()
        for name, source in sorted(files.items()):
            _add_parents(tar, name, seen)
            entry = tarfile.TarInfo(name)
            entry.mode = 0o755
            if isinstance(source, Link):
                entry.type = tarfile.SYMTYPE
                entry.linkname = source.to
                tar.addfile(entry)
            elif isinstance(source, bytes):
                entry.size = len(source)
                tar.addfile(entry, io.BytesIO(source))
            else:
                entry.size = source.stat().st_size
                with source.open("rb") as data:
                    tar.addfile(entry, data)
    return target


def write_archive(target: Path, images: Sequence[Image], architecture: str) -> None:
    """Write one archive with all ``images``; a layer that several share is stored once."""
    small: dict[str, bytes] = {}
    layers: dict[str, Path] = {}
    manifests: list[dict[str, object]] = []
    for image in images:
        described = []
        for layer in image.layers:
            digest, size = _digest(layer)
            layers[digest] = layer
            described.append({"mediaType": _LAYER, "digest": digest, "size": size})
        config = _store(small, {
            "architecture": _GO_ARCHITECTURE.get(architecture, architecture), "os": "linux",
            "created": "1970-01-01T00:00:00Z",
            "config": {"Entrypoint": list(image.entrypoint), "Env": [_PATH], "WorkingDir": "/"},
            "rootfs": {"type": "layers", "diff_ids": [layer["digest"] for layer in described]},
        })  # fmt: skip
        manifest = _store(small, {
            "schemaVersion": 2, "mediaType": _MANIFEST,
            "config": {"mediaType": _CONFIG, **config}, "layers": described,
        })  # fmt: skip
        manifests += [{"mediaType": _MANIFEST, **manifest, "annotations": _annotations(n)} for n in image.names]
    index = {"schemaVersion": 2, "mediaType": _INDEX, "manifests": manifests}
    with tarfile.open(target, "w") as tar:
        _add_bytes(tar, "oci-layout", json.dumps({"imageLayoutVersion": "1.0.0"}).encode())
        _add_bytes(tar, "index.json", json.dumps(index).encode())
        for digest, data in small.items():
            _add_bytes(tar, _blob_name(digest), data)
        for digest, path in layers.items():
            tar.add(path, _blob_name(digest), recursive=False)


def _annotations(name: str) -> dict[str, str]:
    return {"io.containerd.image.name": name, "org.opencontainers.image.ref.name": name.rsplit(":", 1)[1]}


def _store(blobs: dict[str, bytes], document: object) -> dict[str, object]:
    data = json.dumps(document, sort_keys=True).encode()
    digest = f"sha256:{hashlib.sha256(data).hexdigest()}"
    blobs[digest] = data
    return {"digest": digest, "size": len(data)}


def _digest(path: Path) -> tuple[str, int]:
    with path.open("rb") as file:
        return f"sha256:{hashlib.file_digest(file, 'sha256').hexdigest()}", path.stat().st_size


def _blob_name(digest: str) -> str:
    return f"blobs/sha256/{digest.removeprefix('sha256:')}"


def _add_bytes(tar: tarfile.TarFile, name: str, data: bytes) -> None:
    entry = tarfile.TarInfo(name)
    entry.size = len(data)
    entry.mode = 0o644
    tar.addfile(entry, io.BytesIO(data))


def _add_parents(tar: tarfile.TarFile, name: str, seen: set[str]) -> None:
    parts = name.split("/")[:-1]
    for count in range(1, len(parts) + 1):
        parent = "/".join(parts[:count])
        if parent not in seen:
            seen.add(parent)
            entry = tarfile.TarInfo(parent)
            entry.type = tarfile.DIRTYPE
            entry.mode = 0o1777 if parent == "tmp" else 0o755
            tar.addfile(entry)
