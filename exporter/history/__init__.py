"""Figures of the store over time, kept small in SQLite."""
