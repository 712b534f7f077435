"""Estimators for policies whose actions move the state: whole episodes and their discounted return."""
