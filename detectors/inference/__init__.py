"""What chance does: tails of laws, long-run variance, evidence that holds at every look, and what a signal costs."""
