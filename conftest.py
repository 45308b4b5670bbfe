"""Fixtures for the tests of every package."""

from hypothesis import HealthCheck, settings

pytest_plugins = ["tests.services"]

# how long an example takes is the machine's affair; speed is measured in benchmarks/
settings.register_profile(
    "any machine", deadline=None, suppress_health_check=[HealthCheck.too_slow]
)
settings.load_profile("any machine")
