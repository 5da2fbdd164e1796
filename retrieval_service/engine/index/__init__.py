"""Indexes of item vectors behind one protocol, and how one is chosen, built and searched."""
