"""The project's own Docker engine: used where the machine has none, or none that reaches an image registry."""
