"""The local cluster: real kind on this machine, with a Docker engine and a registry or without either.

Standard library only, because it runs before any Python environment exists: ``python3 -m deploy.kind VERB``.
"""
