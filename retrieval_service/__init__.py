"""Finds candidates in the whole catalogue: user tower, index, further sources, filters, exactly as many as asked for."""
