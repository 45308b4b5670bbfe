"""``python -m obs_core doctor``."""
