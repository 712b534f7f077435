"""What the process says with its exit code."""

FINE = 0
FINDING = 1
USAGE = 2
UNREACHABLE = 3
