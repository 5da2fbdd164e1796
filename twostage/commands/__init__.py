"""The subcommands of ``twostage``, one file each."""
