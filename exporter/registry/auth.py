"""Authentication: how a registry asks for a login, and how to log in.

A registry that requires a login answers 401 and names the scheme in ``WWW-Authenticate``:
``Basic``, or ``Bearer`` with the address of a token endpoint. Source of the flow: distribution's
``docs/spec/auth/token.md``; of the header's grammar: RFC 9110, section 11.

The username and password are sent only to the registry's own origin, whatever it answers.
"""

import base64
import re
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field

import httpx
import msgspec

from exporter.domain.errors import ApiUnavailableError, RegistryRefusesError
from exporter.registry.http import (
    Answer,
    Connection,
    RegistryEndpoint,
    decode_body,
    parse_address,
    redirect_target,
    same_origin,
    shown,
)
from exporter.registry.retries import is_passing

LOGIN_OPTIONS = "--registry.username and --registry.password-file"

# Possessive quantifiers: the server chooses the header, and must not make matching slow.
_WORD = r"[!#$%&'*+.^_`|~0-9A-Za-z-]++"
_SEPARATORS = re.compile(r"[\s,]*+")
_PARAMETER = re.compile(rf'({_WORD})\s*+=\s*+(?:"((?:[^"\\]|\\.)*+)"|({_WORD}))')
_SCHEME = re.compile(rf"({_WORD})(?:[ \t]++[0-9A-Za-z._~+/-]++=*+(?=\s*+(?:,|$)))?")
_QUOTED_PAIR = re.compile(r"\\(.)")
_HEADER_SAFE = re.compile(r"[\x21-\x7e]+")


@dataclass(frozen=True, slots=True)
class Challenge:
    """One way to log in that a registry offers.

    Attributes:
        scheme: in lower case, such as ``basic``.
        parameters: by name in lower case.

    """

    scheme: str
    parameters: Mapping[str, str]


@dataclass(frozen=True, slots=True)
class Login:
    """What to send as ``Authorization``.

    Attributes:
        header: the header's value, a secret.
        refusal: the message for the operator if it is not accepted.

    """

    header: str = field(repr=False)
    refusal: str


class _TokenAnswer(msgspec.Struct):
    token: str | None = None
    access_token: str | None = None  # OAuth 2.0's name for the same


class Authenticator:
    """Logs in to one registry, with the scheme that it asks for."""

    def __init__(self, endpoint: RegistryEndpoint, base: httpx.URL, connection: Connection) -> None:
        self._base = base
        self._connection = connection
        self._credentials: str | None = None
        if endpoint.username is not None and endpoint.password is not None:
            self._credentials = _basic(endpoint.username, endpoint.password.get_secret_value())
        self.basic: Login | None = None
        """The username and password, once the registry has asked for them."""

    async def log_in(self, answer: Answer, scope: str | None, sent: Login | None) -> Login:
        """Answer a 401; ``sent`` is the login that was refused, ``scope`` what a token must allow.

        Raises ApiUnavailableError if there is no other way to log in.
        """
        challenges: dict[str, Challenge] = {}
        for challenge in parse_challenges(answer.headers.get_list("www-authenticate")):
            challenges.setdefault(challenge.scheme, challenge)
        if "basic" in challenges and self._credentials is not None:
            if sent is not None and sent.header == self._credentials:
                raise RegistryRefusesError(f"{shown(answer.url)} answered 401: {sent.refusal}")
            refusal = f"the username and password are not accepted; check {LOGIN_OPTIONS}"
            self.basic = Login(self._credentials, refusal)
            return self.basic
        if "bearer" in challenges:
            return await self._token(challenges["bearer"], scope)
        if "basic" in challenges:
            reason = f"it requires a username and password; set {LOGIN_OPTIONS}"
        else:
            reason = "it offers neither Basic nor Bearer, the two logins that can be used here"
        raise RegistryRefusesError(f"{shown(answer.url)} answered 401: {reason}")

    async def _token(self, challenge: Challenge, scope: str | None) -> Login:
        url = token_url(challenge, scope)
        own = same_origin(url, self._base)
        answer = await self._connection.get("token", url, self._credentials if own else None)
        remedy = self._remedy(url)
        if answer.status != httpx.codes.OK:
            target = redirect_target(answer)
            detail = f" (a redirect to {target}, which is not followed)" if target else ""
            raise (ApiUnavailableError if is_passing(answer.status) else RegistryRefusesError)(
                f"the token endpoint {shown(url)} answered {answer.status}{detail}: {remedy}"
            )
        body = decode_body(answer, _TokenAnswer)
        token = body.token or body.access_token or ""
        if not _HEADER_SAFE.fullmatch(token):
            raise ApiUnavailableError(
                f"the token endpoint {shown(url)} returned no token: {remedy}"
            )
        refusal = f"the token from {shown(url)} is not accepted: {remedy}"
        return Login(f"Bearer {token}", refusal)

    def _remedy(self, url: httpx.URL) -> str:
        if self._credentials is None:
            return f"it was asked without a login; set {LOGIN_OPTIONS}"
        if same_origin(url, self._base):
            return f"check {LOGIN_OPTIONS}, and what that user may do"
        return (
            "it was asked without a login, because the username and password are for "
            f"{shown(self._base)} only and were not sent to {shown(url.copy_with(path='/'))}; "
            "serve the token endpoint on the registry's own address, "
            "or allow reading without a login"
        )


def _basic(username: str, password: str) -> str:
    try:
        # Bytes that are not UTF-8 reach Python as surrogates; they are sent unchanged.
        joined = f"{username}:{password}".encode(errors="surrogateescape")
    except UnicodeEncodeError:  # its message would quote the password
        raise ApiUnavailableError(
            f"the username or password cannot be sent as UTF-8; check {LOGIN_OPTIONS}"
        ) from None
    return f"Basic {base64.b64encode(joined).decode('ascii')}"


def parse_challenges(values: Iterable[str]) -> list[Challenge]:
    """Parse all ``WWW-Authenticate`` headers, each as far as it follows the grammar."""
    challenges: list[Challenge] = []
    for value in values:
        challenges += _parse_header(value)
    return challenges


def _parse_header(value: str) -> list[Challenge]:
    found: list[tuple[str, dict[str, str]]] = []
    position = _after_separators(value, 0)
    while position < len(value):
        if found and (match := _PARAMETER.match(value, position)):
            name, quoted, plain = match.groups()
            text = plain if quoted is None else _QUOTED_PAIR.sub(r"\1", quoted)
            found[-1][1].setdefault(name.lower(), text)
        elif match := _SCHEME.match(value, position):
            found.append((match[1].lower(), {}))
        else:
            break
        position = _after_separators(value, match.end())
    return [Challenge(scheme, parameters) for scheme, parameters in found]


def _after_separators(value: str, position: int) -> int:
    match = _SEPARATORS.match(value, position)
    return match.end() if match else position


def token_url(challenge: Challenge, wanted_scope: str | None) -> httpx.URL:
    """Return the address to ask for a token.

    The scope is the challenge's own, or ``wanted_scope`` if it has none. Raises
    ApiUnavailableError if the challenge names no usable address.
    """
    remedy = "check auth.token in the registry's configuration"
    realm = parse_address(challenge.parameters.get("realm", ""))
    if realm is None:
        raise ApiUnavailableError(
            f"the registry requires a token but names no address to get one from; {remedy}"
        )
    parameters: dict[str, str | list[str]] = {}
    if service := challenge.parameters.get("service"):
        parameters["service"] = service
    if scope := challenge.parameters.get("scope") or wanted_scope:
        parameters["scope"] = scope.split()
    try:
        bare = realm.copy_with(userinfo=b"", fragment=None)
        return bare.copy_merge_params(parameters)
    except httpx.InvalidURL:
        raise ApiUnavailableError(
            f"the registry's challenge for a token from {shown(realm)} is too long; {remedy}"
        ) from None
