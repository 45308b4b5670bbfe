"""Finished spans on disk until the collector has taken them."""
