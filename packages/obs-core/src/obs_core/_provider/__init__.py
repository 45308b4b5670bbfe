"""The tracer provider: resource, sampling, span processors."""
