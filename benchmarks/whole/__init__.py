"""The whole system against the floor, a general serving framework and a tutorial's pipeline, in one run."""
