"""The veth pair between the host and the engine's network namespace, and the routes over it."""

from pathlib import Path

from deploy.kind.engine.addresses import Addresses
from deploy.kind.process import Failed, run, succeeds


def link_names(engine_id: str) -> tuple[str, str]:
    """Names of the host's and the engine's end; at most 15 characters (IFNAMSIZ less one)."""
    return f"hf{engine_id}h", f"hf{engine_id}e"


def inside(pid: int) -> list[str]:
    """Command prefix that enters the network namespace of process ``pid``."""
    return ["nsenter", f"--net=/proc/{pid}/ns/net", "--"]


def connect(engine_id: str, pid: int, addresses: Addresses) -> None:
    """Make the link, open the engine's firewall for it, and route nodes and pods over it."""
    host_end, engine_end = link_names(engine_id)
    disconnect(engine_id)
    run(["ip", "link", "add", host_end, "type", "veth", "peer", "name", engine_end, "netns", str(pid)], timeout_s=10)
    run(["ip", "address", "add", f"{addresses.host}/30", "dev", host_end], timeout_s=10)
    run(["ip", "link", "set", host_end, "up"], timeout_s=10)
    enter = inside(pid)
    run([*enter, "ip", "address", "add", f"{addresses.engine}/30", "dev", engine_end], timeout_s=10)
    run([*enter, "ip", "link", "set", engine_end, "up"], timeout_s=10)
    for direction in ("-i", "-o"):
        run([*enter, "iptables", "-w", "-I", "DOCKER-USER", direction, engine_end, "-j", "ACCEPT"], timeout_s=10)
    for network in (addresses.nodes, addresses.pods):
        run(["ip", "route", "replace", network, "via", addresses.engine, "dev", host_end], timeout_s=10)


def disconnect(engine_id: str) -> None:
    """Remove the link if it is there; its routes go with it.

    It may go by itself meanwhile, with the network namespace of its other end.
    """
    host_end, _ = link_names(engine_id)
    device = Path(f"/sys/class/net/{host_end}")
    try:
        if device.exists():
            run(["ip", "link", "delete", host_end], timeout_s=10)
    except Failed:
        if device.exists():
            raise


def route_pods(pid: int | None, subnets: dict[str, str]) -> None:
    """Route each node's pods over the node; ``subnets`` maps a pod subnet to its node's address.

    In the engine's network namespace, or on the host itself (``pid`` None), where only root can: without it tests
    reach pods through Services only.
    """
    enter = [] if pid is None else inside(pid)
    for subnet, address in subnets.items():
        try:
            run([*enter, "ip", "route", "replace", subnet, "via", address], timeout_s=10)
        except Failed:
            if pid is not None:
                raise


def unroute_pods(pid: int | None, network: str) -> None:
    """Remove the routes to pods within ``network``."""
    enter = [] if pid is None else inside(pid)
    succeeds([*enter, "ip", "route", "flush", "root", network], timeout_s=10)
