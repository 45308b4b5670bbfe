"""OTLP messages of finished spans as bytes, written without protobuf objects."""
