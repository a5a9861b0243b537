"""Names from outside are refused, the cluster's own are answered by their own server block."""

from __future__ import annotations

from deploy.kind.names import without_upstream

COREFILE = """.:53 {
    errors
    kubernetes cluster.local in-addr.arpa ip6.arpa {
       pods insecure
    }
    forward . /etc/resolv.conf {
       max_concurrent 1000
    }
    cache 30
}
"""


def test_outside_names_have_a_block_of_their_own() -> None:
    changed = without_upstream(COREFILE)
    cluster, outside = changed.split("\n}\n", 1)
    assert cluster.startswith("cluster.local:53 in-addr.arpa:53 ip6.arpa:53 {\n")
    assert "kubernetes cluster.local" in cluster
    # In one block `template` comes before `kubernetes`, and the cluster's own names would be refused.
    assert "template" not in cluster
    assert outside.startswith(".:53 {\n")
    assert "NXDOMAIN" in outside
    assert "forward" not in changed
    assert changed.count("{") == changed.count("}")


def test_nothing_to_do_where_nothing_is_forwarded() -> None:
    once = without_upstream(COREFILE)
    assert without_upstream(once) == once
