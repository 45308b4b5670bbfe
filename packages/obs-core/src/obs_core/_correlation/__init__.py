"""One id for everything that one request caused: baggage, span attribute, log field."""
