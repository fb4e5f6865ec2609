"""Carrying out a plan: in which order, and whether a deletion is still right."""
