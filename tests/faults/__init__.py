"""Faults under live traffic: a collector that can fail in every way, a loaded service, and an account of every span."""
