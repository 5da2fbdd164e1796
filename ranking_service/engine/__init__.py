"""Ranking without transport: arrays and dataclasses in, arrays and dataclasses out. Training runs this very code."""
