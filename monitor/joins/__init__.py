"""Decisions that wait for rewards: found by id, combined, expired; rewards that wait for decisions."""
