"""Intervals and one-sided bounds for an estimate, each valid at a stated delta or withheld with its reason."""
