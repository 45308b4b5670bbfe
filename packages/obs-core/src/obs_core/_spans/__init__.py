"""Tracers, span ids, errors and attributes of spans."""
