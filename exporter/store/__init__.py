"""The registry's storage: the port, the format, and a package for each kind of storage."""
