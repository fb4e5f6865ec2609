"""The explorer: pages for people, made from the published snapshot alone."""
