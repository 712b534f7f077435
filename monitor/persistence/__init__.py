"""What outlives a process: the checkpoint, its format, and what is said and done when it is damaged or too old."""
