"""Shared parts of the packages that instrument a library."""
