"""Intervals and one-sided bounds for an estimate: valid at a stated delta, or withheld."""
