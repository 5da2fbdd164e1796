"""Load on a gateway: what is sent, when, and what came of it. No service is imported; a gateway is asked over gRPC."""
