"""The closed loop on one machine: a broker in memory, a serving layer, a change, a fallback."""
