"""A MeterProvider that exports, with its own state in every process."""
