"""Traces of requests across the services, by OpenTelemetry where it is asked for; see docs/tracing.md."""
