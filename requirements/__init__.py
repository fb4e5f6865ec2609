"""What is locked, and what is made of the locks."""
