"""`setup_tracing` and the `TracingManager` that it returns."""
