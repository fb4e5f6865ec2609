"""Plain facts: no I/O, and no knowledge of where they come from."""
