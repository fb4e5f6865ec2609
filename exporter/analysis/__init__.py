"""Figures drawn from what was read. Pure: no disk, no network, no clock."""
