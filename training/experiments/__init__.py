"""What experiments and exploration have shown, from the impression log."""
