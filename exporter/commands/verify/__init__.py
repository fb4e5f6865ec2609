"""The command ``verify``: hash blobs again, and report which do not match their digest."""
