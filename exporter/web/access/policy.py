"""Who may see the pages, and how connections are encrypted: nobody asks, and not, or by a file."""

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path

from starlette.middleware import Middleware

from exporter.web.server.http_server import Context


@dataclass(frozen=True, slots=True)
class Access:
    """What a file says of it, kept up to date.

    Attributes:
        guards: stand before the pages.
        context: gives what the next TLS handshake uses, None where connections are plain.
        close: ends what runs in the background.

    """

    guards: Sequence[Middleware] = ()
    context: Context = lambda: None
    close: Callable[[], None] = lambda: None


def access_by(file: Path | None) -> Access:
    """Read the file, if there is one. Raises ConfigurationError with every problem found."""
    if file is None:
        return Access()
    from exporter.web.access.guard import Guard  # noqa: PLC0415 - most do without
    from exporter.web.access.live_config import LiveWebConfig  # noqa: PLC0415 - the same
    from exporter.web.access.passwords import PasswordChecker  # noqa: PLC0415 - the same

    live, passwords = LiveWebConfig(file), PasswordChecker()
    guard = Middleware(Guard, live=live, passwords=passwords)
    return Access((guard,), lambda: live.context, passwords.close)
