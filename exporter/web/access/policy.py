"""Access and TLS: open by default, or configured by a file."""

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path

from starlette.middleware import Middleware

from exporter.web.server.http_server import Context


@dataclass(frozen=True, slots=True)
class Access:
    """Access to the pages, kept up to date with the file.

    Attributes:
        guards: middleware for all pages.
        context: returns the context of the next TLS handshake; None if connections are plain.
        close: ends what runs in the background.

    """

    guards: Sequence[Middleware] = ()
    context: Context = lambda: None
    close: Callable[[], None] = lambda: None


def access_by(file: Path | None, open_path: str = "/-/healthy") -> Access:
    """Return the access that a file configures. Raises ConfigurationError with every problem.

    A supervisor asks for ``open_path`` without a password; it reveals nothing.
    """
    if file is None:
        return Access()
    from exporter.web.access.guard import Guard  # noqa: PLC0415 - most do without
    from exporter.web.access.live_config import LiveWebConfig  # noqa: PLC0415 - the same
    from exporter.web.access.passwords import PasswordChecker  # noqa: PLC0415 - the same

    live, passwords = LiveWebConfig(file), PasswordChecker()
    guard = Middleware(Guard, live=live, passwords=passwords, open_path=open_path)
    return Access((guard,), lambda: live.context, passwords.close)
