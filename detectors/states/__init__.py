"""Whether states are those of the baseline (KL, MMD), and whether they are fit to be compared."""
