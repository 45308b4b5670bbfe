"""SQLAlchemy: a span a statement, on engine events."""
