"""Messages for failures below HTTP, each with its remedy."""

import os
import socket
import ssl

from exporter.domain.text import printable

_MAX_SHOWN = 200
# By OpenSSL's X509_V_ERR_*, see X509_STORE_CTX_get_error(3).
_OTHER_NAME_REMEDY = "{setting} must have a name that is in it"
_CERTIFICATE_REMEDIES = {
    9: "it is not valid yet: compare the clocks of both hosts",
    10: "renew it, and restart the registry so that it serves the new one",
    62: _OTHER_NAME_REMEDY,
    64: _OTHER_NAME_REMEDY,
}
_UNKNOWN_CA_REMEDY = "give the CA that signed it, or the certificate itself, as --registry.ca-file"


def reason_of(error: BaseException, setting: str) -> str:
    """Return why a request failed and what to do; ``setting`` is the source of its address."""
    root = _system_error(error) or error
    if isinstance(root, ssl.SSLCertVerificationError):
        remedy = _CERTIFICATE_REMEDIES.get(root.verify_code, _UNKNOWN_CA_REMEDY)
        remedy = remedy.format(setting=setting)
        return f"its certificate is not trusted ({root.verify_message}); {remedy}"
    if isinstance(root, ssl.SSLError):
        return f"TLS failed ({words_of(root)}); check scheme and port of {setting}"
    if isinstance(root, socket.gaierror) and root.errno == socket.EAI_AGAIN:
        return f"{words_of(root)}; check that the name server of this host answers (getent hosts)"
    if isinstance(root, socket.gaierror | UnicodeError):
        return f"{words_of(root)}; check the host in {setting}"
    return f"{words_of(root)}; check that a server runs there, and look at its log"


def is_lasting(error: BaseException) -> bool:
    """Return whether the same request would fail again: its certificate or host is wrong."""
    root = _system_error(error)
    if isinstance(root, socket.gaierror):
        return root.errno != socket.EAI_AGAIN
    return isinstance(root, ssl.SSLCertVerificationError)


def _system_error(error: BaseException | None) -> OSError | None:
    """Return the operating system's error below the exceptions of httpx and its libraries."""
    while error is not None:
        if isinstance(error, OSError) and error.errno:
            return error
        if isinstance(
            error, BaseExceptionGroup
        ):  # a host with several addresses: one error for each
            error = error.exceptions[0]
        else:
            error = error.__cause__ or error.__context__  # httpcore suppresses its causes
    return None


def words_of(error: BaseException) -> str:
    """Return the system's or the library's message."""
    if isinstance(error, ssl.SSLError):
        return getattr(error, "reason", None) or str(error)
    if isinstance(error, socket.gaierror):
        return str(error.strerror)
    if isinstance(error, OSError) and error.errno:
        return os.strerror(error.errno)  # asyncio's message repeats the address
    return printable(str(error))[:_MAX_SHOWN] or type(error).__name__  # may quote the request
