"""The `netstacks` command: one module for each group of subcommands."""
