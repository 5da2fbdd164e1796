"""The log of what was shown and of what people then did: its columns, its files, and how they are read."""
