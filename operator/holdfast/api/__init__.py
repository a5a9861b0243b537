"""The kinds, their conditions and reasons, the labels, and what pods and the operator say to each other.

Nothing is imported here on purpose: the sidecar takes `holdfast.api.wire` alone and must stay small.
"""
