"""Facts about accelerators as data, the arithmetic of topologies, and what they mean for pods."""
