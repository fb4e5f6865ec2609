"""Platforms that run images: who uses which image of the registry."""
