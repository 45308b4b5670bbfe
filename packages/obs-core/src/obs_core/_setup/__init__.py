"""`setup_tracing` and `TracingManager`."""
