"""The vocabulary of a plan: what is observed, what is to be done, slots and names, and the injection of the sidecar."""
