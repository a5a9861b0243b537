"""Cluster DNS on a machine that reaches nothing: a name from outside is refused at once.

CoreDNS would ask an upstream that does not exist and give up after two seconds; client libraries that look for a
metadata server do so at every start.
"""

import json
import re

from deploy.kind.kube import Kube

_FORWARD = re.compile(r"forward \. /etc/resolv\.conf( \{[^}]*\})?")
_REFUSE = "template ANY ANY . {\n       rcode NXDOMAIN\n    }"


def without_upstream(corefile: str) -> str:
    """The Corefile with its forwarding replaced; unchanged if it forwards nothing."""
    return _FORWARD.sub(_REFUSE, corefile)


def refuse_outside_names(kube: Kube) -> None:
    """Change the running CoreDNS's configuration, which it reads anew by itself within 45 s."""
    found = kube.get("configmap", "coredns", "-n", "kube-system")
    changed = without_upstream(str(found["data"]["Corefile"]))
    if changed != found["data"]["Corefile"]:
        patch = json.dumps({"data": {"Corefile": changed}})
        kube.kubectl("-n", "kube-system", "patch", "configmap", "coredns", "--type=merge", "-p", patch)
