"""Reads TrainingJobs with the official client, so that kubeconfigs, contexts and exec plugins work as with kubectl."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, Final

from kubernetes import client, config
from kubernetes.client.exceptions import ApiException
from kubernetes.config.config_exception import ConfigException
from urllib3.exceptions import HTTPError

from holdfast.api.labels import GROUP, VERSION

Job = Mapping[str, Any]

# Connect and read; the command is run by people who wait.
_TIMEOUT_S: Final = (5, 15)
_PLURAL: Final = "trainingjobs"


class CliError(Exception):
    """Something that the user can change; the message says what."""


def connect(context: str | None) -> client.CustomObjectsApi:
    """Return a client for the kubeconfig's context. Raises `CliError` where there is none."""
    try:
        config.load_kube_config(context=context)
    except ConfigException as error:
        raise CliError(f"No usable kubeconfig: {_said(error)} Set KUBECONFIG or choose another --context.") from error
    return client.CustomObjectsApi()


def jobs(api: client.CustomObjectsApi, namespace: str | None) -> list[Job]:
    """Return the TrainingJobs of a namespace, or of all where it is None."""
    if namespace is None:
        answer = _ask(lambda: api.list_cluster_custom_object(GROUP, VERSION, _PLURAL, _request_timeout=_TIMEOUT_S))
    else:
        answer = _ask(
            lambda: api.list_namespaced_custom_object(GROUP, VERSION, namespace, _PLURAL, _request_timeout=_TIMEOUT_S)
        )
    return list(answer["items"])


def job(api: client.CustomObjectsApi, namespace: str, name: str) -> Job:
    """Return one TrainingJob. Raises `CliError` where it does not exist."""
    found: Job = _ask(
        lambda: api.get_namespaced_custom_object(GROUP, VERSION, namespace, _PLURAL, name, _request_timeout=_TIMEOUT_S)
    )
    return found


def current_namespace(context: str | None) -> str:
    """Return the namespace of the kubeconfig's context."""
    try:
        contexts, active = config.list_kube_config_contexts()
    except ConfigException as error:
        raise CliError(f"No usable kubeconfig: {_said(error)} Set KUBECONFIG.") from error
    chosen = next((item for item in contexts if item["name"] == context), active) if context else active
    return str((chosen or {}).get("context", {}).get("namespace") or "default")


def _said(error: Exception) -> str:
    """Return what an exception says as a sentence."""
    return f"{str(error).strip().rstrip('.')}."


def _ask(call: Any) -> Any:
    try:
        return call()
    except ApiException as error:
        if error.status == 404:
            raise CliError(
                "Not found: check the name and --namespace, and that Holdfast's CRDs are installed."
            ) from error
        if error.status in (401, 403):
            raise CliError(f"Your account may not read TrainingJobs: {error.reason}.") from error
        raise CliError(f"The API server answered {error.status}: {error.reason}.") from error
    except HTTPError as error:
        raise CliError(f"The API server cannot be reached: {error}") from error
