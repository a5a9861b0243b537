"""Container images of the cluster's own parts, made from the Go programs and a few Debian files.

Three archives: what every node needs and what only the control plane needs, under the names that kubeadm asks for
(both only for our own node image), and the add-ons (storage, bucket, a shell for small jobs), for every cluster.
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

Inputs = list[Path | str]
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
    local_path = gotools.ensure(gotools.LOCAL_PATH, cache) / "local-path-provisioner"
    server = gotools.ensure(gotools.BUCKET, cache) / "fake-gcs-server"
    static = debian.unpacked("static", debian.STATIC_PACKAGES, cache)

    def images(scratch: Path) -> list[Image]:
        shell = _shell_layer(scratch, static)
        return [
            Image((SHELL,), (shell,), ("/bin/sh",)),
            Image((local_path_image(),), (_program(scratch, local_path),), ("/usr/local/bin/local-path-provisioner",)),
            Image((bucket_image(),), (_program(scratch, server),), ("/usr/local/bin/fake-gcs-server",)),
        ]

    inputs: Inputs = [local_path, server, static / "bin"]
    return _archive("addons", inputs, images, cache)


def control_plane(cache: Cache) -> Archive:
    """The archive with the images that only the control-plane node runs."""
    programs = gotools.ensure(gotools.KUBERNETES, cache)
    etcd = gotools.ensure(gotools.ETCD, cache) / "etcd"
    coredns = gotools.ensure(gotools.COREDNS, cache) / "coredns"

    def images(scratch: Path) -> list[Image]:
        names = _kubeadm_names(programs / "kubeadm")
        dns = write_layer(scratch / "coredns.tar", {"coredns": coredns})
        return [
            Image((names["etcd"],), (_program(scratch, etcd),), ("etcd",)),
            Image((names["coredns"],), (dns,), ("/coredns",)),
            *(
                Image((names[name],), (_program(scratch, programs / name),), (name,))
                for name in ("kube-apiserver", "kube-controller-manager", "kube-scheduler")
            ),
        ]

    inputs: Inputs = [programs / "kube-apiserver", etcd, coredns]
    return _archive("control-plane", inputs, images, cache)


def every_node(cache: Cache) -> Archive:
    """The archive with the images that run on all nodes: pod sandbox, kube-proxy, pod network, shell."""
    programs = gotools.ensure(gotools.KUBERNETES, cache)
    static = debian.unpacked("static", debian.STATIC_PACKAGES, cache)
    network = debian.root_file_system("network", debian.NETWORK_PACKAGES, cache)
    agent = NODE / "kindnet-lite"

    def images(scratch: Path) -> list[Image]:
        names = _kubeadm_names(programs / "kubeadm")
        pause = write_layer(scratch / "pause.tar", {"pause": static / "usr/bin/catatonit"})
        script = write_layer(scratch / "agent.tar", {"usr/local/bin/kindnet-lite": agent})
        return [
            Image((names["pause"],), (pause,), ("/pause", "-P")),
            Image((names["kube-proxy"],), (network, _program(scratch, programs / "kube-proxy")), ("kube-proxy",)),
            Image((NETWORK_AGENT,), (network, script), ("/usr/local/bin/kindnet-lite",)),
            Image((SHELL,), (_shell_layer(scratch, static),), ("/bin/sh",)),
        ]

    inputs: Inputs = [programs / "kube-proxy", static / "bin", network, agent.read_text()]
    return _archive("every-node", inputs, images, cache)


def _archive(name: str, inputs: Inputs, images: Images, cache: Cache) -> Archive:
    # A cached input is known by the key in its folder's name. The code that writes the archive is an input too.
    known = [one if isinstance(one, str) else f"{one.parent.name}/{one.name}" for one in inputs]
    key = key_of([*known, _HERE.read_bytes(), _HERE.with_name("oci.py").read_bytes()])
    target = cache.images / f"{name}-{key}"
    archive = Archive(target / "images.tar", key)
    with locked(cache.images / f".{name}.lock"):
        if not archive.path.is_file():
            with (
                step(f"write the {name} image archive"),
                building(target) as made,
                tempfile.TemporaryDirectory(dir=made) as scratch,
            ):
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
