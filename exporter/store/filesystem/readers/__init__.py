"""Reading one part of a store: blobs, a repository, links, uploads, stray files."""
