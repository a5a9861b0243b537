"""Cluster DNS on a machine that reaches nothing: a name from outside is refused at once.

CoreDNS would ask an upstream that does not exist and give up after two seconds; client libraries that look for a
metadata server do so at every start.
"""

import json
import re

from deploy.kind.kube import Kube

_FORWARD = re.compile(r"\n *forward \. /etc/resolv\.conf( \{[^}]*\})?")
_ROOT = re.compile(r"^\.:53 \{$", re.MULTILINE)
_ZONES = "cluster.local:53 in-addr.arpa:53 ip6.arpa:53 {"
# A server block of its own: within one block CoreDNS asks `template` before `kubernetes`, whatever their order is in
# the file (plugin.cfg), so that it would refuse the cluster's own names too.
_REFUSE = """
.:53 {
    errors
    template ANY ANY . {
       rcode NXDOMAIN
    }
}
"""


def without_upstream(corefile: str) -> str:
    """The Corefile with all names but the cluster's own refused; unchanged if it forwards nothing."""
    if not _FORWARD.search(corefile):
        return corefile
    return _ROOT.sub(_ZONES, _FORWARD.sub("", corefile)).rstrip("\n") + _REFUSE


def refuse_outside_names(kube: Kube) -> None:
    """Change the running CoreDNS's configuration, which it reads anew by itself within 45 s."""
    found = kube.get("configmap", "coredns", "-n", "kube-system")
    changed = without_upstream(str(found["data"]["Corefile"]))
    if changed != found["data"]["Corefile"]:
        patch = json.dumps({"data": {"Corefile": changed}})
        kube.kubectl("-n", "kube-system", "patch", "configmap", "coredns", "--type=merge", "-p", patch)
