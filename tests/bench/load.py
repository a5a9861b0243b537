"""The load: bare pods and TrainingJobs of the same form, created by a plain client a few at a time."""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Iterable
from typing import Any

import orjson

from holdfast.planning.plan import PODS, TRAINING_JOBS, Resource
from holdfast.seams import ApiError, ApiTransport

# How many requests the client has under way at once, for bare pods and for jobs.
CONCURRENCY = 32
NAMESPACES = Resource("", "v1", "namespaces", "Namespace")

Manifest = dict[str, Any]

_CONTAINER: Manifest = {
    "name": "trainer",
    "image": "registry.example/trainer:1",
    "resources": {"requests": {"cpu": "10m", "memory": "16Mi"}},
}


def bare_pods(namespace: str, number: int) -> Iterable[Manifest]:
    """Yield pods as anybody would write them for the same trainer."""
    for index in range(number):
        yield {
            "apiVersion": "v1",
            "kind": "Pod",
            "metadata": {"name": f"bare-{index:05d}", "namespace": namespace},
            "spec": {"restartPolicy": "Never", "containers": [_CONTAINER]},
        }


def jobs(namespace: str, number: int, workers: int, framework: str) -> Iterable[Manifest]:
    """Yield TrainingJobs without checkpoints: simulated nodes run no sidecar."""
    for index in range(number):
        yield job(namespace, f"job-{index:05d}", workers, framework)


def job(namespace: str, name: str, workers: int, framework: str) -> Manifest:
    """Return one TrainingJob."""
    return {
        "apiVersion": "holdfast.dev/v1alpha1",
        "kind": "TrainingJob",
        "metadata": {"name": name, "namespace": namespace},
        "spec": {
            "accelerator": {"cpu": {"workers": workers}},
            "runtime": {"framework": framework},
            "template": {"spec": {"containers": [_CONTAINER]}},
        },
    }


async def create_all(transport: ApiTransport, resource: Resource, manifests: Iterable[Manifest]) -> None:
    """Create the objects in order, `CONCURRENCY` at once."""

    async def one(manifest: Manifest) -> None:
        await create(transport, resource, manifest)

    await in_parallel(one, manifests)


async def create(transport: ApiTransport, resource: Resource, manifest: Manifest) -> None:
    """Create one object."""
    path = resource.collection(manifest["metadata"].get("namespace"))
    await patiently(transport, "POST", path, orjson.dumps(manifest))


async def in_parallel(call: Callable[[Any], Any], items: Iterable[Any]) -> None:
    """Await `call(item)` for all items, `CONCURRENCY` at once."""
    line = iter(items)

    async def worker() -> None:
        for item in line:
            await call(item)

    async with asyncio.TaskGroup() as group:
        for _ in range(CONCURRENCY):
            group.create_task(worker())


async def patiently(transport: ApiTransport, method: str, path: str, body: bytes | None = None) -> bytes:
    """Send a request, again where the API server asks for it: the storage of a new kind takes a moment to come up."""
    for _ in range(100):
        try:
            return await transport.request(method, path, body=body, timeout_s=60)
        except ApiError as error:
            if error.status != 429:
                raise
            await asyncio.sleep(0.2)
    raise TimeoutError(f"{method} {path} was put off a hundred times")


async def make_namespace(transport: ApiTransport, name: str) -> None:
    """Create a namespace and wait until pods can be created in it."""
    await create(transport, NAMESPACES, {"apiVersion": "v1", "kind": "Namespace", "metadata": {"name": name}})
    account = f"/api/v1/namespaces/{name}/serviceaccounts/default"
    for _ in range(300):
        try:
            await transport.request("GET", account)
        except ApiError as error:
            if error.status != 404:
                raise
            await asyncio.sleep(0.1)
        else:
            return
    raise TimeoutError(f"namespace {name} has no default service account")


async def clear(transport: ApiTransport, namespace: str) -> None:
    """Delete all jobs and pods of a namespace and wait until they are gone."""
    for resource in (TRAINING_JOBS, PODS):
        await _delete_all(transport, resource, namespace)
    for resource in (TRAINING_JOBS, PODS):
        await gone(transport, resource, namespace)


async def _delete_all(transport: ApiTransport, resource: Resource, namespace: str) -> None:
    options = orjson.dumps({"propagationPolicy": "Background", "gracePeriodSeconds": 0})
    listed = orjson.loads(await patiently(transport, "GET", resource.collection(namespace)))

    async def one(item: Manifest) -> None:
        path = resource.item(namespace, str(item["metadata"]["name"]))
        try:
            await patiently(transport, "DELETE", path, options)
        except ApiError as error:
            if error.status != 404:
                raise

    await in_parallel(one, listed["items"])


async def gone(transport: ApiTransport, resource: Resource, namespace: str) -> None:
    """Wait until the namespace holds none of these."""
    for _ in range(1200):
        page = await patiently(transport, "GET", resource.collection(namespace) + "?limit=1")
        if not orjson.loads(page)["items"]:
            return
        await asyncio.sleep(0.25)
    raise TimeoutError(f"{resource.plural} of {namespace} are not gone after 300 s")
