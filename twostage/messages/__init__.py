"""The messages that several services share: the contract's bounds, reading them, and writing parts of answers."""
