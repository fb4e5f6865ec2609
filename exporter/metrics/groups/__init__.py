"""The metrics, one module for each group: each metric is declared once."""
