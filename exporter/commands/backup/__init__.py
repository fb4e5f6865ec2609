"""The command ``backup``: save a store, or a part of it, as OCI image layouts."""
