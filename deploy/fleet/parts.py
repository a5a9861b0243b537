"""The control plane's parts: what each is started with, and the order in which they come up."""

import json
from dataclasses import dataclass
from pathlib import Path

from deploy.fleet.instance import Instance
from deploy.kind import gotools
from deploy.kind.console import Problem
from deploy.kind.paths import TOOLS, Cache
from deploy.kind.process import run

_SERVICES = "10.96.0.0/16"
# What kwok does to nodes, pods and volumes, as its own release defines it.
_STAGES = ("node/fast", "node/heartbeat-with-lease", "pod/fast")
# Kubelets work side by side; with kwok's default of 4 at once, a thousand pods would wait for the simulation of theirs.
# A document of this kind has no defaults: the other numbers are those.
_CONFIGURATION = """\
apiVersion: config.kwok.x-k8s.io/v1alpha1
kind: KwokConfiguration
options:
  podPlayStageParallelism: 16
  nodePlayStageParallelism: 4
  nodeLeaseParallelism: 4
  podsOnNodeSyncParallelism: 1
"""


@dataclass(frozen=True)
class Part:
    """One process: its name and its command."""

    name: str
    command: tuple[str, ...]


def parts(instance: Instance, cache: Cache) -> list[Part]:
    """All parts, in the order of their start. Builds what is not in the cache."""
    kubernetes = gotools.ensure(gotools.KUBERNETES, cache)
    etcd = gotools.ensure(gotools.ETCD, cache) / "etcd"
    kwok = gotools.ensure(gotools.KWOK, cache) / "kwok"
    stages = _stages(instance)
    return [
        Part("etcd", (str(etcd), *_etcd(instance))),
        Part("kube-apiserver", (str(kubernetes / "kube-apiserver"), *_api_server(instance))),
        Part("kube-controller-manager", (str(kubernetes / "kube-controller-manager"), *_controllers(instance))),
        Part("kube-scheduler", (str(kubernetes / "kube-scheduler"), *_scheduler(instance))),
        Part("kwok", (str(kwok), *_kwok(instance, stages))),
    ]


def _etcd(instance: Instance) -> list[str]:
    client, peer = (f"http://127.0.0.1:{instance.port(role)}" for role in ("etcd", "etcd-peer"))
    return [
        "--name=fleet", f"--data-dir={instance.folder / 'etcd'}", "--log-level=warn",
        f"--listen-client-urls={client}", f"--advertise-client-urls={client}",
        f"--listen-peer-urls={peer}", f"--initial-advertise-peer-urls={peer}", f"--initial-cluster=fleet={peer}",
        # The data is worth nothing after the run.
        "--unsafe-no-fsync=true", "--quota-backend-bytes=4294967296", "--auto-compaction-retention=5m",
    ]  # fmt: skip


def _api_server(instance: Instance) -> list[str]:
    pki = instance.pki
    return [
        f"--etcd-servers=http://127.0.0.1:{instance.port('etcd')}", "--bind-address=127.0.0.1",
        f"--secure-port={instance.port('kube-apiserver')}", f"--service-cluster-ip-range={_SERVICES}",
        "--authorization-mode=Node,RBAC", f"--client-ca-file={pki / 'ca.crt'}",
        f"--tls-cert-file={pki / 'apiserver.crt'}", f"--tls-private-key-file={pki / 'apiserver.key'}",
        "--service-account-issuer=https://kubernetes.default.svc.cluster.local",
        f"--service-account-key-file={pki / 'sa.pub'}", f"--service-account-signing-key-file={pki / 'sa.key'}",
        # Nothing in here is behind the Service, and the loopback address is none that it may have.
        "--endpoint-reconciler-type=none",
        "--max-requests-inflight=1200", "--max-mutating-requests-inflight=600",
        "--default-not-ready-toleration-seconds=5", "--default-unreachable-toleration-seconds=5",
    ]  # fmt: skip


def _controllers(instance: Instance) -> list[str]:
    pki = instance.pki
    return [
        f"--kubeconfig={instance.folder / 'kube-controller-manager.kubeconfig'}", "--leader-elect=false",
        "--use-service-account-credentials=true", f"--root-ca-file={pki / 'ca.crt'}",
        f"--service-account-private-key-file={pki / 'sa.key'}", "--authentication-skip-lookup=true",
        "--bind-address=127.0.0.1", f"--secure-port={instance.port('kube-controller-manager')}",
        "--allocate-node-cidrs=false", "--node-monitor-period=1s", "--node-monitor-grace-period=60s",
        # The default of 20 requests a second would be what a load test measures.
        "--kube-api-qps=1000", "--kube-api-burst=2000",
    ]  # fmt: skip


def _scheduler(instance: Instance) -> list[str]:
    config = instance.folder / "kube-scheduler.json"
    config.write_text(json.dumps({
        "apiVersion": "kubescheduler.config.k8s.io/v1", "kind": "KubeSchedulerConfiguration",
        "leaderElection": {"leaderElect": False},
        "clientConnection": {
            "kubeconfig": str(instance.folder / "kube-scheduler.kubeconfig"), "qps": 1000, "burst": 2000,
        },
    }))  # fmt: skip
    return [
        f"--config={config}", "--authentication-skip-lookup=true", "--bind-address=127.0.0.1",
        f"--secure-port={instance.port('kube-scheduler')}",
    ]  # fmt: skip


def _kwok(instance: Instance, stages: Path) -> list[str]:
    return [
        f"--kubeconfig={instance.folder / 'kwok.kubeconfig'}", "--manage-all-nodes=false",
        "--manage-nodes-with-annotation-selector=kwok.x-k8s.io/node=fake", f"--config={stages}",
        "--node-lease-duration-seconds=40", "--node-ip=127.0.0.1", f"--node-port={instance.port('kwok')}",
        f"--server-address=127.0.0.1:{instance.port('kwok')}", "--cidr=10.128.0.0/9", "--v=WARN",
    ]  # fmt: skip


def _stages(instance: Instance) -> Path:
    """kwok's own stages, from the module at its pinned version, and its configuration, in one file."""
    described = json.loads(
        run(["go", "mod", "download", "-json", gotools.KWOK.module], timeout_s=300, cwd=TOOLS / gotools.KWOK.name)
    )
    root = Path(described["Dir"]) / "kustomize/stage"
    texts = [
        path.read_text()
        for folder in _STAGES
        for path in sorted((root / folder).glob("*.yaml"))
        if path.name != "kustomization.yaml"
    ]
    if not texts:
        raise Problem(f"{root} holds no stages: this release of kwok keeps them elsewhere")
    target = instance.folder / "stages.yaml"
    target.write_text("\n---\n".join([_CONFIGURATION, *texts]))
    return target
