"""How the workers of a gang find each other: one module a framework, each a pure function to environment variables."""

from holdfast.training.rendezvous.environment import Gang, environment, needs_names

__all__ = ["Gang", "environment", "needs_names"]
