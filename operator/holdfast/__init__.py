"""Holdfast: work on Kubernetes that must not lose its state."""

__version__ = "0.1.0"
