"""Kafka as a source: two clients behind one protocol, and why a broker could not be reached."""
