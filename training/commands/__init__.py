"""The parts of the ``twostage`` command that work offline."""
