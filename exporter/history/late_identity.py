"""The identity of a store, which one thread finds and the others know from then on."""

from collections.abc import Callable


class LateIdentity:
    """The identity of a store.

    Only the thread that records finds it: on a mount that hangs, that waits without an end, and
    requests must not.
    """

    def __init__(self, find: Callable[[], str]) -> None:
        """Find it with ``find``, once."""
        self._find = find
        self._known: str | None = None

    def find(self) -> str:
        """Return it, found now if it is not known; for the thread that records."""
        if self._known is None:
            self._known = self._find()
        return self._known

    @property
    def known(self) -> str | None:
        """It, without waiting; None while it is not known."""
        return self._known
