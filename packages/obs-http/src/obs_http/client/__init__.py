"""HTTP clients: httpx and requests."""
