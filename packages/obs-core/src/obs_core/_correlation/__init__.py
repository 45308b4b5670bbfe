"""Correlation ids: in baggage between services, on spans, on log records."""
