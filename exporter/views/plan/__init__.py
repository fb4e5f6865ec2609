"""Deletion plans: whether one can be made, and its text."""
