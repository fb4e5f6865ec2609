"""The command ``verify``: hashes blobs again and tells which do not match their digest."""
