"""The certificate that the registry serves: when it expires."""

import asyncio
import ssl

import httpx

from exporter.domain.errors import ApiUnavailableError
from exporter.registry.failures import reason_of
from exporter.registry.http import (
    URL_SETTING,
    RegistryEndpoint,
    registry_address,
    shown,
    trusting_context,
)


def certificate_not_after(endpoint: RegistryEndpoint) -> float | None:
    """Return the end of the served certificate's validity, in Unix seconds; None without TLS.

    Trusts any certificate and sends nothing, so that an expired one can be read too.
    Raises ApiUnavailableError if none is served.
    """
    url = registry_address(endpoint)
    if url.scheme != "https":
        return None
    try:
        encoded = asyncio.run(_served_certificate(url, endpoint.timeout))
        return _not_after(encoded)
    except TimeoutError:
        raise ApiUnavailableError(
            f"{shown(url)} served no certificate within {endpoint.timeout:g} s; "
            "check whether the registry hangs, or raise --registry.timeout"
        ) from None
    except (OSError, ValueError) as error:
        raise ApiUnavailableError(
            f"{shown(url)} served no certificate: {reason_of(error, URL_SETTING)}"
        ) from error


async def _served_certificate(url: httpx.URL, seconds: float) -> bytes:
    host = url.raw_host.decode("ascii")
    loop = asyncio.get_running_loop()
    async with asyncio.timeout(seconds):
        transport, _ = await loop.create_connection(
            asyncio.Protocol,
            host,
            url.port or 443,
            ssl=trusting_context(),
            server_hostname=host,
            ssl_handshake_timeout=seconds,
        )
    try:
        session: ssl.SSLObject = transport.get_extra_info("ssl_object")
        return session.getpeercert(binary_form=True) or b""
    finally:
        transport.abort()  # a normal close would wait for the other side


def _not_after(encoded: bytes) -> float:
    from cryptography import x509  # noqa: PLC0415 - slow to import, and only TLS needs it

    try:
        return x509.load_der_x509_certificate(encoded).not_valid_after_utc.timestamp()
    except x509.InvalidVersion as error:
        raise ValueError(str(error)) from error
