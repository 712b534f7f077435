"""One file per receiver: how a signal is said there, and what its answer means."""
