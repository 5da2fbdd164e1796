"""JSON over HTTP for the gateway's public methods: a process of its own that calls the gateway over gRPC."""
