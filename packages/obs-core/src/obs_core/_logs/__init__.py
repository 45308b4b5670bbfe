"""Export of the records of `logging`."""
