"""What the outside sees of the running daemon: metrics, status, log lines, signs of life."""
