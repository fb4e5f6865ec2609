"""Build TLS contexts from a configuration."""

import ssl

from exporter.web.access.config_file import ClientAuth, TlsConfig

_VERIFY = {
    ClientAuth.NONE: ssl.CERT_NONE,
    ClientAuth.IF_GIVEN: ssl.CERT_OPTIONAL,
    ClientAuth.REQUIRED: ssl.CERT_REQUIRED,
}


def make_context(tls: TlsConfig) -> ssl.SSLContext:
    """Read the files and return the context. Raises ValueError, which names setting and file."""
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    context.minimum_version = ssl.TLSVersion.TLSv1_3 if tls.least_tls13 else ssl.TLSVersion.TLSv1_2
    if tls.most_tls12:
        context.maximum_version = ssl.TLSVersion.TLSv1_2
    if tls.ciphers is not None:
        context.set_ciphers(":".join(tls.ciphers))
    if tls.curve is not None:
        context.set_ecdh_curve(tls.curve)
    if not tls.prefers_own_ciphers:
        context.options &= ~ssl.OP_CIPHER_SERVER_PREFERENCE
    context.options |= ssl.OP_NO_RENEGOTIATION
    context.set_alpn_protocols(["http/1.1"])
    for name, path in (("cert_file", tls.cert), ("key_file", tls.key)):
        try:
            path.read_bytes()
        except OSError as error:
            raise ValueError(f"{name} {path}: cannot be read: {error.strerror}") from error
    try:
        # otherwise OpenSSL would ask for the password of an encrypted key on the terminal
        context.load_cert_chain(tls.cert, tls.key, password=lambda: "")
    except (ssl.SSLError, OSError) as error:
        raise ValueError(
            f"cert_file {tls.cert} and key_file {tls.key}: not a certificate and its private key, "
            f"both in PEM and without a password ({_reason(error)})"
        ) from error
    context.verify_mode = _VERIFY[tls.client_auth]
    if tls.client_auth is not ClientAuth.NONE:
        _trust(context, tls)
    return context


def _trust(context: ssl.SSLContext, tls: TlsConfig) -> None:
    if tls.client_ca is None:
        context.load_default_certs(ssl.Purpose.CLIENT_AUTH)
        return
    try:
        context.load_verify_locations(tls.client_ca)
    except ssl.SSLError as error:
        raise ValueError(
            f"client_ca_file {tls.client_ca}: contains no certificate in PEM ({_reason(error)})"
        ) from error
    except OSError as error:
        raise ValueError(
            f"client_ca_file {tls.client_ca}: cannot be read: {error.strerror}"
        ) from error


def _reason(error: OSError) -> str:
    return getattr(error, "reason", None) or error.strerror or type(error).__name__
