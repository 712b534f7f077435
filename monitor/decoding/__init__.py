"""Bytes to columns: the wire forms, what is checked, and the reason of every record that cannot be used."""
