"""What crosses packages: the repository's shape, scripts, servers for tests, the whole system."""
