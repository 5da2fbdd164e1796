"""TLS of servers and channels, files that are read again when they change, and the credentials of callers."""
