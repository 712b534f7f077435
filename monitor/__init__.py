"""The process: config, source, decode, join, core, checkpoint, telemetry, HTTP, command line."""
