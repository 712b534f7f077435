"""Pure mathematics: statistics that add up, and what they say. No clock, no I/O."""
