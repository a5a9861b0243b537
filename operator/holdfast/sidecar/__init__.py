"""The process in every pod: `holdfast-sidecar restore`, `run` and `flush`.

It wires the engines of `holdfast.checkpoint` to the pod: configuration from the environment, signals, the socket for
the trainer, reports to the operator and commands from it.
"""
