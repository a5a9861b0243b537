"""Settings that all tests share."""

from __future__ import annotations

from hypothesis import HealthCheck, settings

# A machine that is busy with a cluster makes any single example slow: time limits are per test, in pyproject.toml.
settings.register_profile("holdfast", deadline=None, suppress_health_check=[HealthCheck.too_slow])
settings.load_profile("holdfast")
