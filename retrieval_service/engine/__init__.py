"""Retrieval without a server: arrays and dataclasses in, candidates out. Training and serving both call it."""
