"""The command ``restore``: put back what was deleted, from a backup or a journal."""
