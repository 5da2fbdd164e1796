"""What people did: the protocol of a user store, one in a file for one machine, one in Redis for several gateways."""
