"""What people did: the protocol of a user store, and the one that needs nothing but a file."""
