"""What a scan leaves for the next one, and which changes it looks for."""
