"""Words for what fails below HTTP, with the mend. Knows no request and no registry."""

import os
import socket
import ssl

from exporter.domain.text import printable

_MAX_SHOWN = 200
# By OpenSSL's X509_V_ERR_*, see X509_STORE_CTX_get_error(3).
_OTHER_NAME_MEND = "{setting} must have a name that is in it"
_CERTIFICATE_MENDS = {
    9: "it is not valid yet: compare the clocks of both hosts",
    10: "renew it, and restart the registry so that it serves the new one",
    62: _OTHER_NAME_MEND,
    64: _OTHER_NAME_MEND,
}
_UNKNOWN_CA_MEND = "name the CA that signed it, or itself, in --registry.ca-file"


def reason_of(error: BaseException, setting: str) -> str:
    """Say why a request failed and what to do; ``setting`` is what its address comes from."""
    root = _system_error(error) or error
    if isinstance(root, ssl.SSLCertVerificationError):
        mend = _CERTIFICATE_MENDS.get(root.verify_code, _UNKNOWN_CA_MEND)
        mend = mend.format(setting=setting)
        return f"its certificate is not trusted ({root.verify_message}); {mend}"
    if isinstance(root, ssl.SSLError):
        return f"TLS failed ({words_of(root)}); check scheme and port of {setting}"
    if isinstance(root, socket.gaierror) and root.errno == socket.EAI_AGAIN:
        return f"{words_of(root)}; see whether the name server of this host answers (getent hosts)"
    if isinstance(root, socket.gaierror | UnicodeError):
        return f"{words_of(root)}; check the host in {setting}"
    return f"{words_of(root)}; see whether a server runs there, and look at its log"


def _system_error(error: BaseException | None) -> OSError | None:
    """Find what the system said, below the exceptions that httpx and its libraries made of it."""
    while error is not None:
        if isinstance(error, OSError) and error.errno:
            return error
        if isinstance(error, BaseExceptionGroup):  # a host with several addresses: one for each
            error = error.exceptions[0]
        else:
            error = error.__cause__ or error.__context__  # httpcore cuts off its causes
    return None


def words_of(error: BaseException) -> str:
    """Say what went wrong as the system or the library puts it."""
    if isinstance(error, ssl.SSLError):
        return getattr(error, "reason", None) or str(error)
    if isinstance(error, socket.gaierror):
        return str(error.strerror)
    if isinstance(error, OSError) and error.errno:
        return os.strerror(error.errno)  # asyncio's own text repeats the address
    return printable(str(error))[:_MAX_SHOWN] or type(error).__name__  # may quote what was sent
