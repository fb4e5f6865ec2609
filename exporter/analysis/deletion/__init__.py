"""What to delete, and what that frees: policies, selections of tags, plans."""
