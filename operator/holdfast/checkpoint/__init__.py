"""The data path: from a directory that a trainer wrote to a committed checkpoint in a bucket, and back.

Forward: `detect` finds a complete step, `pin` holds its files, `upload` streams them and writes this slot's part
manifest, `commit` writes the one manifest that makes the step count, `verify` looks at what the bucket then holds,
`retain` deletes what is no longer needed. `keeper.Keeper` drives it. Backward: `runs` takes the fence, `rounds`
agrees with the other slots on one commit, `restore.RestoreStep` brings it onto the volume.

This room knows the bucket through `holdfast.seams.ObjectStore` and the job through `holdfast.api.wire`; it knows
nothing of Kubernetes.
"""
