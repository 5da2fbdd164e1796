"""Makes logged answers once more, from the log and the bundle alone, with the engines that serve."""
