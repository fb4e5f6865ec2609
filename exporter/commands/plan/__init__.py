"""The command ``plan``: which manifests to delete, and what that frees. It deletes nothing."""
