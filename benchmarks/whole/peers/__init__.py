"""The same models put together otherwise. Nothing here but `benchmarks` itself is ours: the bundle's files are read."""
