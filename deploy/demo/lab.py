"""One local cluster with everything that the demo and the tests need to look at it and to act on it."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

from kubernetes.client import ApiClient, AppsV1Api, CoreV1Api, CustomObjectsApi
from kubernetes.config import new_client_from_config

from deploy.demo.bucket import Bucket
from deploy.kind import addons
from deploy.kind.kube import Kube

# How long one answer of the API server may take, in seconds.
REPLY_S = 15


@dataclass(frozen=True)
class Images:
    """Names of the images as the nodes know them."""

    holdfast: str
    trainer: str


@dataclass(frozen=True)
class Lab:
    """The cluster, clients of its API server (the official ones, not the operator's own), its bucket and images."""

    kube: Kube
    images: Images
    bucket: Bucket
    api: ApiClient

    @property
    def core(self) -> Any:
        """The client of the core group."""
        return CoreV1Api(self.api)

    @property
    def apps(self) -> Any:
        """The client of deployments."""
        return AppsV1Api(self.api)

    @property
    def custom(self) -> Any:
        """The client of custom resources."""
        return CustomObjectsApi(self.api)

    def workers(self) -> list[str]:
        """Names of the nodes that run pods of jobs."""
        return self.kube.nodes()[1:]


def connect(kube: Kube, images: Images) -> Lab:
    """Open the clients of a cluster that is up."""
    api = new_client_from_config(config_file=str(kube.state.kubeconfig))
    # A lost connection is tried again; every call has a deadline besides (`_request_timeout`).
    api.configuration.retries = 3
    return Lab(kube, images, Bucket(addons.bucket_url(kube), addons.BUCKET_NAME), api)
