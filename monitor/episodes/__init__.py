"""Episodes out of joined decisions: critic targets, returns, and what an episode cost in all."""
