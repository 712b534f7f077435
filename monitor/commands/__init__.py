"""One file per command of the command line; each takes parsed arguments and returns an exit code."""
