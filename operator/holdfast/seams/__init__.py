"""The five seams through which the outside world enters: time, randomness, the API server, the bucket and tasks.

Everything else takes one of these protocols, so that a simulation can run a whole job's life in milliseconds from a
seed. The real adapters are in `holdfast.seams.real` (clock, random, spawner), `holdfast.cluster` (API server) and
`holdfast.checkpoint.store` (bucket).
"""

from holdfast.seams.bucket import (
    BucketMissing,
    Folder,
    ObjectInfo,
    ObjectMissing,
    ObjectStore,
    PermissionDenied,
    PreconditionFailed,
    StoreError,
    StoreUnavailable,
)
from holdfast.seams.clock import Clock, Random
from holdfast.seams.spawner import Spawner
from holdfast.seams.transport import ApiError, ApiTransport, WatchStream

__all__ = [
    "ApiError",
    "ApiTransport",
    "BucketMissing",
    "Clock",
    "Folder",
    "ObjectInfo",
    "ObjectMissing",
    "ObjectStore",
    "PermissionDenied",
    "PreconditionFailed",
    "Random",
    "Spawner",
    "StoreError",
    "StoreUnavailable",
    "WatchStream",
]
