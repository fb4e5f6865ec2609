"""Walking all blobs, repositories and manifests of a store into numbered tables."""
