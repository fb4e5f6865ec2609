"""Promises of the client of a registry's HTTP API, for any bytes as answers."""

import asyncio
import re
import ssl
from collections.abc import Iterator, Sequence
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import NamedTuple

import httpx
from hypothesis import strategies as st
from pydantic import SecretStr

from exporter.domain.errors import ApiUnavailableError
from exporter.domain.model import ApiView
from exporter.registry.api_client import Limits, RegistryEndpoint, read_api
from exporter.registry.auth import Challenge, parse_challenges, token_url
from exporter.registry.http import CONCURRENCY, parse_address
from exporter.store.format.layout import is_repository_name, is_tag_name
from tests.fake_registry import BASIC, Requests
from tests.fuzzing import Check, Target, encode_json, json_values, plain
from tests.servers import PASSWORD, USERNAME

_BASE = "http://registry.example:5000"
_LIMITS = Limits(body_bytes=32 * 1024, pages=4, names=12, seconds=5.0)
_MOST_REQUESTS = 3 * (1 + _LIMITS.pages + _LIMITS.names * _LIMITS.pages)
"""Each page may cost a refusal, a token and another request."""
_PATIENCE_SECONDS = 0.02
_REQUEST_SECONDS = 0.5
_NEXT_ANSWER = b"\n=====\n"
_FRAMED = re.compile(rb"^(?:content-length|transfer-encoding):", re.IGNORECASE | re.MULTILINE)
_LONGEST_MESSAGE = 1_500
_PRINTABLE = re.compile(r"[ -~]*")


class _Sent(NamedTuple):
    url: httpx.URL
    authorization: str | None


class _Recorder(httpx.AsyncBaseTransport):
    """Transport that records the requests and the realms of the challenges."""

    def __init__(self, transport: httpx.AsyncBaseTransport) -> None:
        self._transport = transport
        self.sent: list[_Sent] = []
        self.realms: list[httpx.URL] = []

    async def handle_async_request(self, request: httpx.Request) -> httpx.Response:
        self.sent.append(_Sent(request.url, request.headers.get("Authorization")))
        response = await self._transport.handle_async_request(request)
        for challenge in parse_challenges(response.headers.get_list("www-authenticate")):
            realm = parse_address(challenge.parameters.get("realm", ""))
            self.realms += [] if realm is None else [_place(realm)]
        return response

    async def aclose(self) -> None:
        await self._transport.aclose()


class _Answerer:
    """A server on a Unix socket that stands for every host; answers by a script."""

    def __init__(self) -> None:
        self.answers: Sequence[bytes] = ()
        self.sent = 0

    async def serve(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        """Send one answer per request, the last repeatedly; close after one without an end."""
        with suppress(TimeoutError, asyncio.IncompleteReadError, OSError):
            is_framed = True
            while is_framed:
                async with asyncio.timeout(_PATIENCE_SECONDS):
                    await reader.readuntil(b"\r\n\r\n")
                answer = self.answers[min(self.sent, len(self.answers) - 1)]
                self.sent += 1
                is_framed = _FRAMED.search(answer) is not None
                writer.write(answer)
                await writer.drain()
        writer.close()


class _Asker:
    """Reads the API from the answering server, and checks the promises."""

    def __init__(self, runner: asyncio.Runner, path: Path) -> None:
        self._runner = runner
        self._path = path
        self._answerer = _Answerer()
        self._tls = ssl.SSLContext(ssl.PROTOCOL_TLS_CLIENT)
        self._server = runner.run(asyncio.start_unix_server(self._answerer.serve, path))

    def close(self) -> None:
        self._server.close()
        self._runner.run(self._server.wait_closed())

    def check(self, content: bytes) -> None:
        """Read the API with these bytes as the registry's answers."""
        self._answerer.answers, self._answerer.sent = content.split(_NEXT_ANSWER), 0
        transport = httpx.AsyncHTTPTransport(uds=str(self._path), verify=self._tls, trust_env=False)
        recorder, seen = _Recorder(transport), Requests()
        endpoint = RegistryEndpoint(_BASE, USERNAME, SecretStr(PASSWORD), timeout=_REQUEST_SECONDS)
        reading = read_api(endpoint, seen, transport=recorder, limits=_LIMITS)
        try:
            view = self._runner.run(reading)
        except ApiUnavailableError as error:
            _check_message(str(error))
        else:
            _check_view(view, seen)
        _check_sent(recorder, seen)


def _check_message(message: str) -> None:
    assert 0 < len(message) <= _LONGEST_MESSAGE
    assert _PRINTABLE.fullmatch(message)
    assert PASSWORD not in message
    assert BASIC not in message


def _check_view(view: ApiView, seen: Requests) -> None:
    """Assert that the view is complete, legal and bounded."""
    assert all(map(is_repository_name, view.tags))
    assert all(map(is_tag_name, (tag for tags in view.tags.values() for tag in tags)))
    assert len(view.tags) <= _LIMITS.names
    assert all(len(tags) <= _LIMITS.names for tags in view.tags.values())
    counted = {(endpoint, code) for endpoint, code in seen.codes if endpoint != "token"}
    assert {code for _, code in counted} <= {"200", "401", "404"}
    assert {endpoint for endpoint, code in counted if code == "404"} <= {"tags"}


def _check_sent(recorder: _Recorder, seen: Requests) -> None:
    """Assert that other origins get only token requests, without a login."""
    own, given_up = _origin(httpx.URL(_BASE)), len(recorder.sent) - len(seen.codes)
    elsewhere = [each for each in recorder.sent if _origin(each.url) != own]
    assert len(recorder.sent) <= _MOST_REQUESTS
    assert 0 <= given_up < CONCURRENCY  # cancelled because another failed
    assert all(each.authorization is None for each in elsewhere)
    assert all(_place(each.url) in recorder.realms for each in elsewhere)
    assert all(each.url.userinfo == b"" for each in recorder.sent)
    tokens = sum(endpoint == "token" for endpoint, _ in seen.codes)
    assert len(elsewhere) <= tokens + given_up


def _origin(url: httpx.URL) -> tuple[str, bytes, int | None]:
    return url.scheme, url.raw_host.lower(), url.port  # equal for %3C and %3c


def _place(url: httpx.URL) -> httpx.URL:
    return url.copy_with(userinfo=b"", query=None, fragment=None)


@contextmanager
def _asking(directory: Path) -> Iterator[Check]:
    with asyncio.Runner() as runner:
        asker = _Asker(runner, directory / "registry")
        try:
            yield asker.check
        finally:
            asker.close()


_LINKS = st.sampled_from(
    [
        "</v2/_catalog?last=a>; rel=next", '<?n=1&last=b>; rel="next"', "<>; rel=next",
        "<http://other.example/v2/_catalog?last=a>; rel=next", "<//other.example/>; rel=next",
        "<https://registry.example:5000/v2/_catalog>; rel=next", "<a>;rel=prev, <b>;rel=next",
        "<http://[/>; rel=next", "<\\\\other.example>; rel=next", "</v2/app/tags/list>; rel=next",
        "<http://registry.example:5000@other.example/v2/_catalog>; rel=next", "<" * 50, "rel=next",
        f"<{_BASE}/v2/_catalog?{'a' * 9000}>; rel=next", "<http://xn--a.example>; rel=next",
    ]
)  # fmt: skip
_LOGINS = st.sampled_from(
    [
        'Basic realm="x"', "Basic", "Negotiate abc==, Basic realm=x", 'Digest realm="x"', '"', "=",
        f'Bearer realm="{_BASE}/token",service="r"', 'Bearer realm="http://other.example/token"',
        'Bearer realm="http://user:password@other.example/"', 'Bearer realm="/token"', "Bearer",
        'Bearer realm="https://other.example/token",scope="a b c"', 'Bearer realm="file:///x"',
        'Bearer realm="http://[::1"', 'Bearer realm="http://xn--0.example/"', "Bearer realm=\"" ,
        f'Bearer realm="{_BASE}/?{"a" * 9000}"', r'Bearer realm="http:\/\/other.example\/"',
    ]
)  # fmt: skip
_HEADERS = (
    st.tuples(st.just("Link"), _LINKS)
    | st.tuples(st.just("WWW-Authenticate"), _LOGINS)
    | st.sampled_from(
        [
            ("Content-Length", "99"), ("Content-Length", "-1"), ("Transfer-Encoding", "chunked"),
            ("Content-Encoding", "gzip"), ("Content-Type", "text/html"), ("Set-Cookie", "a=b"),
            ("Location", "http://other.example/"), ("Location", "http://["), ("X" * 9000, "x"),
        ]
    )
)  # fmt: skip
_NAMES = st.sampled_from(["app", "team/app", "1", "latest", "A B", "../x", "\ud800", "", "\n"])
_BODIES = (
    st.fixed_dictionaries({"repositories": st.lists(_NAMES, max_size=3)})
    | st.fixed_dictionaries({"tags": st.lists(_NAMES, max_size=3)})
    | st.fixed_dictionaries({"token": st.sampled_from(["t", "", "a b", "é", "x\r\nHost: y"])})
    | json_values(("repositories", "tags", "token", "access_token", "errors"))
)


def _answer(status: int, headers: Sequence[tuple[str, str]], body: bytes, is_framed: bool) -> bytes:
    fields = [*headers, ("Content-Length", str(len(body)))] if is_framed else headers
    head = [f"HTTP/1.1 {status} X", *(f"{name}: {value}" for name, value in fields), "", ""]
    return "\r\n".join(head).encode() + body


_ANSWERS = st.builds(
    _answer,
    st.sampled_from([200, 200, 200, 200, 401, 401, 404, 307, 403, 429, 500, 100, 204, 304, 999]),
    st.lists(_HEADERS, max_size=2),
    _BODIES.map(encode_json),
    st.sampled_from([True, True, True, False]),
)

API = Target(
    "api",
    "Any answers give a complete list of legal names or one error without a secret; no page is "
    "fetched from another host, and no login is sent to one",
    _asking,
    st.lists(_ANSWERS, min_size=1, max_size=5).map(_NEXT_ANSWER.join),
)

# Only the headers, which are read much faster

_CHALLENGE_TEXT = (
    r'[A-Za-z]{1,8}( [a-z]{1,8}=("[^"\\]{0,20}"|[a-z0-9]{1,9}))?(, ?[a-z]{1,7}="[^"]*")*'
)


def check_headers(content: bytes) -> None:
    """Check the promises about ``WWW-Authenticate``; each line is one header."""
    raw = [(b"www-authenticate", line) for line in content.split(b"\n")]
    values = httpx.Headers(raw).get_list("www-authenticate")
    challenges = parse_challenges(values)
    characters = sum(
        len(each.scheme) + sum(map(len, (*each.parameters, *each.parameters.values())))
        for each in challenges
    )
    assert characters <= sum(map(len, values))
    for each in challenges:
        assert each.scheme == each.scheme.lower() != ""
        assert all(name == name.lower() != "" for name in each.parameters)
        _check_token_url(each)
    assert parse_challenges([", ".join(map(_write, challenges))]) == challenges


def _write(challenge: Challenge) -> str:
    quoted = {
        name: value.replace("\\", "\\\\").replace('"', '\\"')
        for name, value in challenge.parameters.items()
    }
    return f"{challenge.scheme} " + ", ".join(f'{name}="{text}"' for name, text in quoted.items())


def _check_token_url(challenge: Challenge) -> None:
    try:
        url = token_url(challenge, "repository:app:pull")
    except ApiUnavailableError as error:
        _check_message(str(error))
        return
    realm = parse_address(challenge.parameters["realm"])
    assert realm is not None
    assert _origin(url) == _origin(realm)
    assert url.scheme in {"http", "https"}
    assert (url.userinfo, url.fragment) == (b"", "")
    # in an address, a character takes at most twelve: four bytes of UTF-8, each as %xx
    assert len(str(url)) <= 200 + 12 * sum(map(len, challenge.parameters.values()))


HEADERS = Target(
    "headers",
    "Any WWW-Authenticate header gives challenges that read the same when written; a token is "
    "requested from the realm and from nowhere else",
    lambda _: plain(check_headers),
    st.lists(_LOGINS | st.from_regex(_CHALLENGE_TEXT, fullmatch=True), max_size=3).map(
        lambda lines: "\n".join(lines).encode()
    ),
)
