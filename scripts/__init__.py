"""What nox and the workflows run; pure functions, tested in tests/."""
