"""The error that keeps the demonstration from starting."""


class DemoError(Exception):
    """The demonstration cannot start; the message says why, and how to fix it."""
