"""The demo: a training run that loses a worker and a node, and ends as if nothing had happened."""
