"""The command ``healthcheck``: ask a running exporter whether it is healthy."""

import socket
import ssl
from contextlib import suppress
from pathlib import Path

import httpx

from exporter.domain.errors import ConfigurationError, OutputError
from exporter.support.quantities import ListenAddress

_TIMEOUT_SECONDS = 4.0
_TLS_HANDSHAKE = b"\x16"
"""First byte of a record that belongs to a handshake (RFC 8446, 5.1)."""


def ask_health(
    address: ListenAddress, web_config: Path | None = None, route_prefix: str = ""
) -> str:
    """Ask ``/-/healthy``, below ``route_prefix``, of the exporter that listens on ``address``.

    ``web_config`` is the file that says whether connections are encrypted. It may have become
    invalid: the exporter continues with what it read before. The certificate is not verified. If
    clients must present one of their own, an answered handshake is enough. Raises OutputError if
    the exporter does not answer, or is not healthy.
    """
    loopback = {"": "127.0.0.1", "0.0.0.0": "127.0.0.1", "::": "::1"}  # noqa: S104 - to connect
    target = ListenAddress(loopback.get(address.host, address.host), address.port)
    is_tls = web_config is not None and _answers_handshake(target)
    url = f"{'https' if is_tls else 'http'}://{target}{route_prefix}/-/healthy"
    if is_tls and web_config is not None and _demands_certificate(web_config):
        return "healthy, as far as can be seen without a client certificate\n"
    try:
        with httpx.Client(trust_env=False, verify=False, timeout=_TIMEOUT_SECONDS) as client:  # noqa: S501 - see above
            answer = client.get(url)
    except (httpx.HTTPError, httpx.InvalidURL) as error:
        raise OutputError(
            f"{url} does not answer: {error}; is the exporter running, and on this "
            "--web.listen-address?"
        ) from error
    if answer.status_code != httpx.codes.OK:
        raise OutputError(f"{url} says {answer.status_code}: {answer.text.strip()}")
    return answer.text


def _answers_handshake(target: ListenAddress) -> bool:
    """Begin a TLS handshake, and return whether the other side answers it."""
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_CLIENT)
    context.check_hostname, context.verify_mode = False, ssl.CERT_NONE
    outgoing = ssl.MemoryBIO()
    with suppress(ssl.SSLWantReadError):  # as it waits for the answer
        context.wrap_bio(ssl.MemoryBIO(), outgoing).do_handshake()
    try:
        with socket.create_connection((target.host, target.port), _TIMEOUT_SECONDS) as connected:
            connected.sendall(outgoing.read())
            return connected.recv(1) == _TLS_HANDSHAKE
    except OSError:
        return False


def _demands_certificate(web_config: Path) -> bool:
    from exporter.web.access.config_file import ClientAuth  # noqa: PLC0415 - most do without
    from exporter.web.access.live_config import LiveWebConfig  # noqa: PLC0415 - the same

    try:
        tls = LiveWebConfig(web_config).config.tls
    except ConfigurationError:
        return False
    return tls is not None and tls.client_auth is ClientAuth.REQUIRED
