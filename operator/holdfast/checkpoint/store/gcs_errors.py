"""What Cloud Storage and its client library raise, as the seam's few errors.

A 404 alone does not say whether the bucket or the object is missing; the store asks with a list where it matters.
A 403 that speaks of a rate is a 429 in disguise (cloud.google.com/storage/docs/json_api/v1/status-codes).
"""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

from holdfast.seams import (
    BucketMissing,
    ObjectMissing,
    PermissionDenied,
    PreconditionFailed,
    StoreError,
    StoreUnavailable,
)


class BadDestination(ValueError):
    """The destination is not of a form that Holdfast can use."""


class GcsFailures:
    """Turns failures into the seam's errors, with messages that say what to change."""

    def __init__(self, bucket: str) -> None:
        self._bucket = bucket

    def check(self, answer: Any, name: str) -> None:
        """Raise for an answer of the HTTP library that is not a success."""
        if answer.status_code >= 300:
            raise self.error(int(answer.status_code), answer.text[:500], name)

    @contextmanager
    def translated(self, name: str) -> Iterator[None]:
        """Turn what is raised inside into a `StoreError`. The empty name stands for the bucket itself."""
        import requests.exceptions
        import urllib3.exceptions
        from google.api_core import exceptions as api
        from google.auth import exceptions as auth
        from google.cloud.storage.exceptions import DataCorruption, InvalidResponse

        try:
            yield
        except api.GoogleAPICallError as error:
            raise self.error(int(error.code or 0), str(error.message), name) from error
        except InvalidResponse as error:
            raise self.error(int(error.response.status_code), str(error), name) from error
        except DataCorruption as error:
            raise StoreUnavailable(f"{self._where(name)}: {error}") from error
        except auth.TransportError as error:
            raise StoreUnavailable(f"cannot fetch credentials for bucket {self._bucket!r}: {error}") from error
        except auth.GoogleAuthError as error:
            if getattr(error, "retryable", False):
                raise StoreUnavailable(f"cannot fetch credentials for bucket {self._bucket!r}: {error}") from error
            raise PermissionDenied(
                f"no usable credentials for bucket {self._bucket!r}: give the pod's service account an identity that "
                f"may use it (Workload Identity, role roles/storage.objectUser): {error}"
            ) from error
        except (requests.exceptions.RequestException, urllib3.exceptions.HTTPError, ConnectionError, TimeoutError) as e:
            raise StoreUnavailable(f"{self._where(name)}: {e}") from e

    def error(self, status: int, text: str, name: str) -> StoreError:
        """Return the error for an HTTP status."""
        where = self._where(name)
        if status == 404 and (not name or "bucket does not exist" in text):
            return BucketMissing(
                f"bucket {self._bucket!r} does not exist: create it, or change spec.checkpoint.destination"
            )
        if status == 404:
            return ObjectMissing(f"{where} does not exist")
        if status == 412:
            return PreconditionFailed(f"{where} is there in another generation")
        if status == 403 and "rate" in text.lower() and "limit" in text.lower():
            return StoreUnavailable(f"{where}: the bucket asks to go slower ({status}): {text}")
        if status in (401, 403):
            return PermissionDenied(
                f"access to bucket {self._bucket!r} is denied ({status}): grant the pod's service account "
                f"roles/storage.objectUser on it: {text}"
            )
        if status in (0, 408, 429) or status >= 500:
            return StoreUnavailable(f"{where}: the bucket answered {status}: {text}")
        if status == 400 and ("crc32c" in text.lower() or "hash" in text.lower()):
            # What arrived is not what was declared: the line damaged it, or the file changed; either may pass.
            return StoreUnavailable(f"{where}: the bucket refused a wrong checksum: {text}")
        return StoreError(f"{where}: the bucket refused the request ({status}): {text}")

    def _where(self, name: str) -> str:
        return f"object {name!r} in bucket {self._bucket!r}" if name else f"bucket {self._bucket!r}"
