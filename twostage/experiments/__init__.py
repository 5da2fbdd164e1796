"""Experiments: the file that describes them, and who is in which arm."""
