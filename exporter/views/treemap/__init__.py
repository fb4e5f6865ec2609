"""The store as tiles whose areas are bytes: which tiles there are, and where each is placed."""
