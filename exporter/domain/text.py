"""Text that is safe to show."""


def printable(path: str) -> str:
    """Make a path safe for logs and terminals: what is not printable ASCII is escaped."""
    return "".join(
        character if character.isprintable() and character.isascii() else _escape(character)
        for character in path
    )


def _escape(character: str) -> str:
    return character.encode("unicode_escape").decode("ascii")
