"""Reading the store: the path grammar, manifests, the walk, the filesystem."""
