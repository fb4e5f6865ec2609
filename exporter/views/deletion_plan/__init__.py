"""Deletion plans, as the command ``plan`` and the pages make and write them."""
