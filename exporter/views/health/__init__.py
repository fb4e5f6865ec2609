"""What is wrong with a store, and where."""
