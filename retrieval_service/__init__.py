"""Finds candidates in the whole catalogue: user tower, index, other sources, filters, exactly as many as asked."""
