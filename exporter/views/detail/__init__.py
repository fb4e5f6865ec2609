"""One repository, image or blob: all that is known of it."""
