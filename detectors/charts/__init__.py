"""Control charts over buckets: cumulative sums, fading vector sums, correlations, change points."""
