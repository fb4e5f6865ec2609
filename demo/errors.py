"""What keeps the demonstration from starting."""


class DemoError(Exception):
    """The demonstration cannot start; the message says why and what mends it."""
