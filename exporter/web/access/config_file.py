"""Parse the file of ``--web.config.file``, in the format of Prometheus' exporter-toolkit.

Accepts what ``promtool check web-config`` accepts, except what this server cannot do or should not
do: each such setting is refused by name, with the remedy. The format:
https://github.com/prometheus/exporter-toolkit/blob/master/docs/web-configuration.md
"""

import re
from collections.abc import Mapping
from dataclasses import dataclass, field
from enum import Enum
from pathlib import Path
from typing import Annotated, Any, Literal

from pydantic import AfterValidator, BaseModel, BeforeValidator, ConfigDict, ValidationError

from exporter.support.strict_yaml import parse_yaml

_HASH = re.compile(r"\$2[aby]\$(0[4-9]|1[0-5])\$[./A-Za-z0-9]{53}")
"""A cost above 15 takes longer than a scrape may take."""

_TRUE = frozenset({"y", "yes", "on", "true"})
_FALSE = frozenset({"n", "no", "off", "false"})
_HEADERS: Mapping[str, tuple[str, ...]] = {
    "Content-Security-Policy": (),
    "Strict-Transport-Security": (),
    "X-Content-Type-Options": ("nosniff",),
    "X-Frame-Options": ("deny", "sameorigin"),
    "X-XSS-Protection": (),
}
"""Response headers that may be set, and the allowed values; empty for any."""

_TLS13_SUITES = frozenset(
    {"TLS_AES_128_GCM_SHA256", "TLS_AES_256_GCM_SHA384", "TLS_CHACHA20_POLY1305_SHA256"}
)
_TLS12_SUITES: Mapping[str, str] = {
    f"TLS_ECDHE_{key}_WITH_{name}": f"ECDHE-{key}-{openssl}"
    for key in ("ECDSA", "RSA")
    for name, openssl in (
        ("AES_128_CBC_SHA", "AES128-SHA"),
        ("AES_256_CBC_SHA", "AES256-SHA"),
        ("AES_128_GCM_SHA256", "AES128-GCM-SHA256"),
        ("AES_256_GCM_SHA384", "AES256-GCM-SHA384"),
        ("CHACHA20_POLY1305_SHA256", "CHACHA20-POLY1305"),
    )
}
"""Go's names of cipher suites, and OpenSSL's."""

_CURVES: Mapping[str, str] = {
    "CurveP256": "prime256v1",
    "CurveP384": "secp384r1",
    "CurveP521": "secp521r1",
    "X25519": "X25519",
}


class ClientAuth(Enum):
    """What a client has to present."""

    NONE = "nothing"
    IF_GIVEN = "a certificate that is verified if there is one"
    REQUIRED = "a certificate that is verified"


@dataclass(frozen=True, slots=True)
class TlsConfig:
    """How connections are encrypted.

    Attributes:
        cert: file with the server's certificate and intermediate certificates (PEM).
        key: file with its private key.
        client_ca: file with the authorities that client certificates are verified against; None
            for those that the system trusts.
        client_auth: what a client has to present.
        least_tls13: no TLS 1.2 is offered.
        most_tls12: no TLS 1.3 is offered.
        ciphers: OpenSSL's names of the offered suites of TLS 1.2; None for its default.
        curve: OpenSSL's name of the only offered curve; None for its default.
        prefers_own_ciphers: whether the server's order counts, not the client's.

    """

    cert: Path
    key: Path
    client_ca: Path | None = None
    client_auth: ClientAuth = ClientAuth.NONE
    least_tls13: bool = False
    most_tls12: bool = False
    ciphers: tuple[str, ...] | None = None
    curve: str | None = None
    prefers_own_ciphers: bool = True

    @property
    def files(self) -> tuple[Path, ...]:
        """All files that it names."""
        return (self.cert, self.key, *((self.client_ca,) if self.client_ca else ()))


@dataclass(frozen=True, slots=True)
class WebConfig:
    """The content of the file.

    Attributes:
        tls: None if connections are plain.
        headers: added to each answer.
        users: bcrypt hashes by user name; empty if no login is required.

    """

    tls: TlsConfig | None = None
    headers: Mapping[str, str] = field(default_factory=dict)
    users: Mapping[str, str] = field(default_factory=dict, repr=False)


def parse_web_config(text: str, directory: Path) -> WebConfig:
    """Parse the file's text; paths in it are relative to ``directory``, which holds the file.

    Raises ValueError with one problem per line; no line contains a hash.
    """
    content = parse_yaml(text)
    if content is None:
        return WebConfig()
    if not isinstance(content, dict):
        raise ValueError("holds no settings; write e.g. tls_server_config: {cert_file: ...}")  # noqa: TRY004
    try:
        file = _File.model_validate(content)
    except ValidationError as error:
        problems = [_explain(each) for each in error.errors(include_url=False)]
        raise ValueError("\n".join(problems)) from None
    return WebConfig(
        _tls_config(file.tls_server_config, directory),
        file.http_server_config.headers,
        file.basic_auth_users,
    )


def _none_as_empty(value: object) -> object:
    return {} if value is None else value


def _boolean(value: object) -> object:
    if isinstance(value, str) and value.lower() in _TRUE | _FALSE:
        return value.lower() in _TRUE
    raise ValueError("is neither true nor false")


def _header_values(headers: dict[str, str]) -> dict[str, str]:
    for name, value in headers.items():
        if name not in _HEADERS:
            known = ", ".join(_HEADERS)
            raise ValueError(f"{name} cannot be set; those that can, in this spelling: {known}")
        allowed = _HEADERS[name]
        if allowed and value not in allowed:
            raise ValueError(f"{name} is {' or '.join(allowed)}")
        if not value.isprintable() or not value.isascii():
            raise ValueError(
                f"{name} contains characters that no header may have: write it in one line of ASCII"
            )
    return headers


def _bcrypt_hash(value: str) -> str:
    if not _HASH.fullmatch(value):
        raise ValueError(
            "is not a bcrypt hash ($2a$, $2b$ or $2y$, cost 04 to 15); to create one: "
            "htpasswd -nBC 10 '' | tr -d ':'"
        )
    return value


def _user_name(value: str) -> str:
    if ":" in value or not value:
        raise ValueError("no client can log in with a name that is empty or has a colon")
    return value


def _client_auth(value: object) -> object:
    if value in ("RequireAnyClientCert", "RequireClientCert"):
        raise ValueError(
            f"{value} verifies nothing and is not offered; write RequireAndVerifyClientCert"
        )
    return value


def _version(value: object) -> object:
    if value in ("TLS10", "TLS11"):
        raise ValueError(f"{value} is broken and not offered (RFC 8996); write TLS12 or TLS13")
    return value


_Boolean = Annotated[bool, BeforeValidator(_boolean)]
_Version = Annotated[Literal["TLS12", "TLS13"], BeforeValidator(_version)]
_Auth = Annotated[
    Literal[
        "", "NoClientCert", "RequestClientCert", "VerifyClientCertIfGiven",
        "RequireAndVerifyClientCert",
    ],
    BeforeValidator(_client_auth),
]  # fmt: skip
_Hash = Annotated[str, BeforeValidator(lambda value: _bcrypt_hash(str(value or "")))]
_User = Annotated[str, BeforeValidator(lambda value: _user_name(str(value)))]


class _Section(BaseModel):
    model_config = ConfigDict(extra="forbid", frozen=True, hide_input_in_errors=True)


class _Tls(_Section):
    cert_file: str = ""
    key_file: str = ""
    client_ca_file: str = ""
    client_auth_type: _Auth = ""
    min_version: _Version = "TLS12"
    max_version: _Version = "TLS13"
    cipher_suites: list[str] = []
    curve_preferences: list[Literal["CurveP256", "CurveP384", "CurveP521", "X25519"]] = []
    prefer_server_cipher_suites: _Boolean = True


class _Http(_Section):
    http2: _Boolean = True
    headers: Annotated[
        dict[str, str], BeforeValidator(_none_as_empty), AfterValidator(_header_values)
    ] = {}


class _File(_Section):
    tls_server_config: Annotated[_Tls, BeforeValidator(_none_as_empty)] = _Tls()
    http_server_config: Annotated[_Http, BeforeValidator(_none_as_empty)] = _Http()
    basic_auth_users: Annotated[dict[_User, _Hash], BeforeValidator(_none_as_empty)] = {}


def _tls_config(tls: _Tls, directory: Path) -> TlsConfig | None:
    """Return the TLS configuration. Raises ValueError if settings contradict each other."""
    if not (tls.cert_file or tls.key_file or tls.client_ca_file or tls.client_auth_type):
        return None
    problems = [
        f"tls_server_config.{name}: is missing; give the file, or no tls_server_config at all"
        for name, value in (("cert_file", tls.cert_file), ("key_file", tls.key_file))
        if not value
    ]
    auth = {
        "VerifyClientCertIfGiven": ClientAuth.IF_GIVEN,
        "RequireAndVerifyClientCert": ClientAuth.REQUIRED,
    }.get(tls.client_auth_type, ClientAuth.NONE)
    if tls.client_ca_file and tls.client_auth_type in ("", "NoClientCert"):
        problems.append(
            "tls_server_config.client_ca_file: has no effect without client_auth_type; write e.g. "
            "client_auth_type: RequireAndVerifyClientCert"
        )
    if (tls.min_version, tls.max_version) == ("TLS13", "TLS12"):
        problems.append("tls_server_config.max_version: is below min_version")
    unknown = [each for each in tls.cipher_suites if each not in _TLS13_SUITES | set(_TLS12_SUITES)]
    problems += [f"tls_server_config.cipher_suites: {each} is not offered" for each in unknown]
    ciphers = tuple(_TLS12_SUITES[each] for each in tls.cipher_suites if each in _TLS12_SUITES)
    if len(tls.curve_preferences) > 1:
        problems.append("tls_server_config.curve_preferences: more than one is not offered")
    if problems:
        raise ValueError("\n".join(problems))
    return TlsConfig(
        cert=directory / tls.cert_file,
        key=directory / tls.key_file,
        client_ca=directory / tls.client_ca_file if tls.client_ca_file else None,
        client_auth=auth,
        # suites of TLS 1.3 cannot be chosen; if only such are listed, TLS 1.2 is not wanted
        least_tls13=tls.min_version == "TLS13" or bool(tls.cipher_suites and not ciphers),
        most_tls12=tls.max_version == "TLS12",
        ciphers=ciphers or None,
        curve=_CURVES[tls.curve_preferences[0]] if tls.curve_preferences else None,
        prefers_own_ciphers=tls.prefer_server_cipher_suites,
    )


def _explain(error: Any) -> str:  # noqa: ANN401 - pydantic's ErrorDetails
    """Return the message of one error: the setting's place, without its value."""
    place = ".".join(str(part) for part in error["loc"] if part != "[key]")
    if error["type"] == "extra_forbidden":
        return f"{place}: unknown setting"
    if error["type"] == "value_error":  # raised by the validators above
        return f"{place}: {error['ctx']['error']}"
    message = error["msg"]
    return f"{place}: {message[0].lower()}{message[1:]}"
