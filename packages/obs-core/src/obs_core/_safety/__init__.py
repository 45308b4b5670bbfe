"""Keep failures of telemetry away from the application, and secrets out of telemetry."""
