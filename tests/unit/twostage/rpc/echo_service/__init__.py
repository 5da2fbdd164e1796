"""The echo service as a program with flags, laid out as the real services are."""
