"""Families of rankers behind one signature: built, trained, exported and served alike."""
