"""A store in a directory: the walk, full and incremental."""
