"""Estimators for decisions without consequences beyond their own reward (contextual bandits)."""
