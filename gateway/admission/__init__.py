"""Who is let in when there is more to do than can be done: limits, waiting rooms, token buckets, and quick refusals."""
