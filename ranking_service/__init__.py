"""The ranking service: features by row, a model server's scores, a blend and a selection."""
