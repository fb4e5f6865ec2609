"""The storage format of distribution's registry. Pure: path grammar and manifests."""
