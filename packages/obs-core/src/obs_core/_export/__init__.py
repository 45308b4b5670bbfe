"""Export of finished spans: queue, thread, deadlines, counts."""
