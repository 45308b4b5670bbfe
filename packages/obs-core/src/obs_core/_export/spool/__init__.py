"""Finished spans on disk until the collector has taken the spans."""
