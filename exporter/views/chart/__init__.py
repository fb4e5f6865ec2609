"""Lines as the parts of a picture."""
