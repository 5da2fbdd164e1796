"""``twostage top``: what the servers do, from their metrics."""
