"""What people and other threads tell the running daemon: HTTP, commands, the main loop's inbox."""
