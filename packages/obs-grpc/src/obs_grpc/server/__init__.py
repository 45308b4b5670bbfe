"""gRPC servers whose RPCs have a SERVER span."""
