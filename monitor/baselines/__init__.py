"""Baselines: the artefact, and how accepted events become one."""
