"""The command ``restore``: restore what was deleted, from a backup or a journal."""
