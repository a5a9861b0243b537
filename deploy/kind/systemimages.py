"""Container images of the cluster's own parts, made from the Go programs and a few Debian files.

Two archives: the Kubernetes parts under the names that kubeadm asks for (only for our own node image), and the
add-ons (storage, bucket, shell for small jobs), which every cluster gets.
"""

import tempfile
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

from deploy.kind import debian, gotools
from deploy.kind.console import Problem, step
from deploy.kind.digests import building, forget_older, key_of, locked
from deploy.kind.oci import Image, Link, write_archive, write_layer
from deploy.kind.paths import NODE, Cache
from deploy.kind.process import run

NETWORK_AGENT = "localhost/holdfast-kindnet-lite:1"
SHELL = "localhost/holdfast-busybox:1"
_HERE = Path(__file__).resolve()

Images = Callable[[Path], list[Image]]


def local_path_image() -> str:
    """Name of the volume provisioner's image."""
    return f"localhost/holdfast-local-path-provisioner:{gotools.LOCAL_PATH.version()}"


def bucket_image() -> str:
    """Name of the bucket server's image."""
    return f"localhost/holdfast-fake-gcs-server:{gotools.BUCKET.version()}"


@dataclass(frozen=True)
class Archive:
    """An image archive in the cache, with the key of its content."""

    path: Path
    key: str


def addons(cache: Cache) -> Archive:
    """The archive with the add-ons' images."""
    parts = {tool.name: gotools.ensure(tool, cache) for tool in (gotools.LOCAL_PATH, gotools.BUCKET)}
    static = debian.unpacked("static", debian.STATIC_PACKAGES, cache)

    def images(scratch: Path) -> list[Image]:
        shell = _shell_layer(scratch, static)
        local_path = parts["local-path-provisioner"] / "local-path-provisioner"
        server = parts["fake-gcs-server"] / "fake-gcs-server"
        return [
            Image((SHELL,), (shell,), ("/bin/sh",)),
            Image((local_path_image(),), (_program(scratch, local_path),), ("/usr/local/bin/local-path-provisioner",)),
            Image((bucket_image(),), (_program(scratch, server),), ("/usr/local/bin/fake-gcs-server",)),
        ]

    return _archive("addons", [*map(str, parts.values()), str(static)], images, cache)


def kubernetes(cache: Cache) -> Archive:
    """The archive with the images that kubeadm and the pod network need."""
    programs = gotools.ensure(gotools.KUBERNETES, cache)
    etcd = gotools.ensure(gotools.ETCD, cache) / "etcd"
    coredns = gotools.ensure(gotools.COREDNS, cache) / "coredns"
    static = debian.unpacked("static", debian.STATIC_PACKAGES, cache)
    network = debian.root_file_system("network", debian.NETWORK_PACKAGES, cache)
    agent = NODE / "kindnet-lite"

    def images(scratch: Path) -> list[Image]:
        names = _kubeadm_names(programs / "kubeadm")
        plain = [
            Image((names[name],), (_program(scratch, programs / name),), (name,))
            for name in ("kube-apiserver", "kube-controller-manager", "kube-scheduler")
        ]
        pause = write_layer(scratch / "pause.tar", {"pause": static / "usr/bin/catatonit"})
        dns = write_layer(scratch / "coredns.tar", {"coredns": coredns})
        script = write_layer(scratch / "agent.tar", {"usr/local/bin/kindnet-lite": agent})
        return [
            *plain,
            Image((names["etcd"],), (_program(scratch, etcd),), ("etcd",)),
            Image((names["coredns"],), (dns,), ("/coredns",)),
            Image((names["pause"],), (pause,), ("/pause", "-P")),
            Image((names["kube-proxy"],), (network, _program(scratch, programs / "kube-proxy")), ("kube-proxy",)),
            Image((NETWORK_AGENT,), (network, script), ("/usr/local/bin/kindnet-lite",)),
        ]

    inputs = [str(programs), str(etcd), str(coredns), str(static), str(network), agent.read_text()]
    return _archive("kubernetes", inputs, images, cache)


def _archive(name: str, inputs: list[str], images: Images, cache: Cache) -> Archive:
    # The code that writes the archive is an input too.
    key = key_of([*inputs, _HERE.read_bytes(), _HERE.with_name("oci.py").read_bytes()])
    target = cache.images / f"{name}-{key}"
    archive = Archive(target / "images.tar", key)
    with locked(cache.images / f".{name}.lock"):
        if not archive.path.is_file():
            with step(f"write the {name} image archive"), building(target) as made:
                with tempfile.TemporaryDirectory(dir=made) as scratch:
                    write_archive(made / "images.tar", images(Path(scratch)), debian.machine())
            forget_older(target)
    return archive


def pause_name(kubeadm: Path) -> str:
    """Name of the image that holds a pod's namespaces open."""
    return _kubeadm_names(kubeadm)["pause"]


def _kubeadm_names(kubeadm: Path) -> dict[str, str]:
    """Image names by component, as this kubeadm wants them for its own version."""
    listing = run(
        [kubeadm, "config", "images", "list", "--kubernetes-version", gotools.KUBERNETES.version()], timeout_s=60
    )
    names = {line.rsplit(":", 1)[0].rsplit("/", 1)[1]: line for line in listing.split()}
    wanted = ("kube-apiserver", "kube-controller-manager", "kube-scheduler", "kube-proxy", "coredns", "pause", "etcd")
    lacking = [name for name in wanted if name not in names]
    if lacking:
        raise Problem(f"kubeadm lists no image for {', '.join(lacking)}; it lists: {listing}")
    return names


def _program(scratch: Path, program: Path) -> Path:
    return write_layer(scratch / f"{program.name}.tar", {f"usr/local/bin/{program.name}": program})


def _shell_layer(scratch: Path, static: Path) -> Path:
    busybox = static / "bin/busybox"
    files: dict[str, Path | Link | bytes] = {"bin/busybox": busybox}
    for applet in run([busybox, "--list"], timeout_s=10).split():
        if applet != "busybox":
            files[f"bin/{applet}"] = Link("busybox")
    files["etc/passwd"] = b"root:x:0:0:root:/root:/bin/sh\n"
    files["tmp/.keep"] = b""
    return write_layer(scratch / "shell.tar", files)
