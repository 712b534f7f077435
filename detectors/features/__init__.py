"""A state as numbers that add up: bins, random Fourier features, moments, and directions in which it is white."""
