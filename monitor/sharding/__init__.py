"""Several daemons that count, and one that judges: buckets as messages."""
