"""Figures over time, from the history."""
