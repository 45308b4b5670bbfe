"""Read, check and resolve the settings: arguments, environment variables, defaults."""
