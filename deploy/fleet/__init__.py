"""A bare control plane on 127.0.0.1 with simulated GKE nodes, for load and scale: ``python3 -m deploy.fleet VERB``.

Nothing runs in a pod here: kwok plays every kubelet. It needs no root, no container engine and no image.
"""
