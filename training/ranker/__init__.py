"""The ``content`` ranker: scores the retrieval stage's candidates by action."""
