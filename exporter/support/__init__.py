"""Logs, output files, quantities, terminal progress, stop signals: what any program needs."""
