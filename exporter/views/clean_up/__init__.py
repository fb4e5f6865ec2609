"""What can go: actions, the curve of retention, and what any selection would free."""
