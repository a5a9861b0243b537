"""The shell around the API server: transport, client, watches, caches, queue, expectations, lease, carrying out a plan.

This room knows no kind. What it handles are resources (paths), structs that tell their identity, and plans.
"""
