"""What statistics of a window share: their difference from the baseline, their own spread, whether they hold enough."""
