"""redis-py: a span a command or pipeline."""
