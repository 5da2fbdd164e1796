"""Writes the log of what was shown and done: records queue up in memory, one thread turns them into files."""
