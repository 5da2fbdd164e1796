"""The embedded model server measured alone."""
