"""The operator's process: Kopf, settings, metrics, health, wiring. The only place that imports kopf."""
