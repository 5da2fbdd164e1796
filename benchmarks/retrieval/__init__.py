"""Retrieval measured alone: against other libraries, under filters, at ten million items, over gRPC."""
