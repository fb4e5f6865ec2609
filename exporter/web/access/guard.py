"""Basic authentication and response headers, as ``--web.config.file`` says."""

import base64
import binascii
from collections.abc import Mapping

from starlette.datastructures import Headers, MutableHeaders
from starlette.responses import PlainTextResponse, Response
from starlette.types import ASGIApp, Message, Receive, Scope, Send

from exporter.web.access.live_config import LiveWebConfig
from exporter.web.access.passwords import PasswordChecker, TooManyChecksError

_CHALLENGE = 'Basic realm="registry-storage-exporter", charset="UTF-8"'


class Guard:
    """Refuses clients that do not log in if a login is required; adds the configured headers."""

    def __init__(
        self, app: ASGIApp, live: LiveWebConfig, passwords: PasswordChecker, open_path: str
    ) -> None:
        """Guard ``app``; anybody may see ``open_path``."""
        self._app = app
        self._open_path = open_path
        self._live = live
        self._passwords = passwords

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Answer a request, or pass it on."""
        config = self._live.config

        async def send_with_headers(message: Message) -> None:
            if message["type"] == "http.response.start":
                MutableHeaders(scope=message).update(config.headers)
            await send(message)

        refusal = None
        if config.users and scope["path"] != self._open_path:
            refusal = await self._refuse(scope, config.users)
        await (refusal or self._app)(scope, receive, send_with_headers)

    async def _refuse(self, scope: Scope, users: Mapping[str, str]) -> Response | None:
        """Return the refusal for a client that may not see the page; None if it may."""
        client = scope["client"][0] if scope["client"] else ""
        name, password = _credentials(Headers(scope=scope).get("authorization"))
        try:
            if name is not None and await self._passwords.is_right(users, name, password, client):
                return None
        except TooManyChecksError:
            return PlainTextResponse(
                "too many passwords wait to be checked; try again\n", 503, {"Retry-After": "1"}
            )
        return PlainTextResponse(
            "log in as one of basic_auth_users\n", 401, {"WWW-Authenticate": _CHALLENGE}
        )


def _credentials(header: str | None) -> tuple[str | None, bytes]:
    """Return user name and password from a header (RFC 7617); None as the name if it has none."""
    scheme, _, encoded = (header or "").partition(" ")
    if scheme.lower() != "basic":
        return None, b""
    try:
        name, colon, password = base64.b64decode(encoded.strip(), validate=True).partition(b":")
        return (name.decode() if colon else None), password
    except (binascii.Error, UnicodeDecodeError):
        return None, b""
