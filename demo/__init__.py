"""A sample registry store to look at, and the builder that writes it."""
