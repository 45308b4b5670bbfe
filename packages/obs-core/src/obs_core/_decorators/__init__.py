"""`trace_function`, for each kind of callable."""
