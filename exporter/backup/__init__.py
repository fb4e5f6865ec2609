"""Backups: one OCI image layout for each repository, all with the same directory of blobs."""
