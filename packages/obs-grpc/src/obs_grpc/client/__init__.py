"""gRPC channels whose RPCs have a CLIENT span."""
