"""Tests that look at every bucket once and remember: which charts watch rewards, critic, states and actions."""
