"""Logging in to a registry, without sending the credentials to anybody else."""

import base64
import json
import os
import time
from pathlib import Path
from urllib.parse import parse_qs

import pytest
from pydantic import SecretStr

from exporter.domain.errors import ApiUnavailableError
from exporter.registry.api_client import RegistryEndpoint, poll
from exporter.registry.auth import Challenge, parse_challenges, token_url
from tests.fake_registry import (
    BASIC,
    PATIENCE,
    TIMEOUT,
    FakeServer,
    Reply,
    Request,
    Requests,
    Route,
    endpoint_of,
    failure,
    ignore,
    paged,
    routes_of,
    tag_list,
    with_routes,
)
from tests.servers import USERNAME, free_port


def test_credentials_are_not_sent_to_a_registry_that_does_not_require_them() -> None:
    with FakeServer(routes_of(app=["1"])) as server:
        poll(endpoint_of(server.url), ignore)
    assert {request.authorization for request in server.requests} == {None}


def test_the_environment_neither_redirects_requests_nor_adds_credentials(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    netrc = tmp_path / "netrc"
    netrc.write_text("machine 127.0.0.1 login user password hidden\n")
    monkeypatch.setenv("NETRC", str(netrc))
    for name in ("http_proxy", "HTTP_PROXY", "all_proxy", "ALL_PROXY"):
        monkeypatch.setenv(name, f"http://127.0.0.1:{free_port()}")
    with FakeServer(routes_of(app=["1"])) as server:
        poll(endpoint_of(server.url, login=False), ignore)
    assert {request.authorization for request in server.requests} == {None}


def test_cookies_are_not_kept() -> None:
    with FakeServer(with_routes(ping=Reply(headers={"Set-Cookie": "a=b; Path=/"}))) as server:
        poll(endpoint_of(server.url), ignore)
    assert not any("Cookie" in request.headers for request in server.requests)


def test_a_password_that_is_not_accepted_any_more_is_not_sent_again() -> None:
    challenge = {"WWW-Authenticate": 'Basic realm="x"'}
    refused = Reply(status=401, headers=challenge)

    def ping(request: Request) -> Reply:
        return Reply() if request.authorization == BASIC else refused

    with FakeServer(with_routes(ping=ping, catalog=refused)) as server:
        message = failure(endpoint_of(server.url))
    assert "_catalog answered 401: the username and password are not accepted" in message
    assert len(server.asked("/v2/_catalog")) == 1


def test_a_password_that_is_not_utf8_is_sent_unchanged() -> None:
    joined = base64.b64encode(b"captain:p\xe9").decode()
    challenge = {"WWW-Authenticate": "Basic"}

    def ping(request: Request) -> Reply:
        accepted = request.authorization == f"Basic {joined}"
        return Reply() if accepted else Reply(status=401, headers=challenge)

    password = os.fsdecode(b"p\xe9")  # as Python decodes an environment variable
    with FakeServer(with_routes(ping=ping)) as server:
        poll(RegistryEndpoint(server.url, USERNAME, SecretStr(password)), ignore)


def test_the_error_of_a_password_that_cannot_be_sent_does_not_repeat_it() -> None:
    endpoint = RegistryEndpoint("http://127.0.0.1:1", USERNAME, SecretStr("hidden\ud800"))
    assert "cannot be sent as UTF-8; check --registry.username" in failure(endpoint)


class TokenRegistry:
    """Routes of a registry that requires bearer tokens, and of its token endpoint.

    A token is valid for the scopes that were requested, and for ``uses`` requests.
    """

    def __init__(self, *, key: str = "token", uses: int = 100, scope: bool = True) -> None:
        self.key = key
        self.uses = uses
        self.names_scope = scope
        self.realm = ""
        self.anonymous = False
        self.tokens: dict[str, tuple[list[str], int]] = {}

    def routes(self) -> dict[str, Route]:
        plain = routes_of(app=["1"], lib=["2"])
        scopes = {
            "/v2/": [],
            "/v2/_catalog": ["registry:catalog:*"],
            "/v2/app/tags/list": ["repository:app:pull"],
            "/v2/lib/tags/list": ["repository:lib:pull"],
        }
        return {path: self._guarded(plain[path], scopes[path]) for path in plain}

    def issue_token(self, request: Request) -> Reply:
        if not self.anonymous and request.authorization != BASIC:
            return Reply(status=401)
        token = f"token-{len(self.tokens)}"
        self.tokens[token] = (request.query.get("scope", []), self.uses)
        return Reply(json.dumps({self.key: token, "expires_in": 60}).encode())

    def _guarded(self, route: Route, scopes: list[str]) -> Route:
        def answer(request: Request) -> Reply:
            assert isinstance(route, Reply)
            token = (request.authorization or "").removeprefix("Bearer ")
            granted, uses = self.tokens.get(token, ([], 0))
            if uses and granted == scopes:
                self.tokens[token] = (granted, uses - 1)
                return route
            challenge = f'Bearer realm="{self.realm}",service="registry, of a test"'
            if scopes and self.names_scope:
                challenge += f',scope="{scopes[0]}",error="invalid_token"'
            return Reply(status=401, headers={"WWW-Authenticate": challenge})

        return answer


@pytest.mark.parametrize("key", ["token", "access_token"])
@pytest.mark.parametrize("scope", [True, False], ids=["scope named", "scope not named"])
def test_tokens_are_requested_with_the_login_and_the_needed_scope(key: str, scope: bool) -> None:
    tokens = TokenRegistry(key=key, scope=scope)
    with FakeServer({**tokens.routes(), "/auth": tokens.issue_token}) as server:
        tokens.realm = f"{server.url}/auth?account=x"
        requests = Requests()
        view = poll(endpoint_of(server.url), requests)
    assert view.tags == {"app": frozenset({"1"}), "lib": frozenset({"2"})}
    asked = server.asked("/auth")
    assert {request.authorization for request in asked} == {BASIC}
    assert sorted(request.query.get("scope", [""])[0] for request in asked) == [
        "",
        "registry:catalog:*",
        "repository:app:pull",
        "repository:lib:pull",
    ]
    assert all(request.query["service"] == ["registry, of a test"] for request in asked)
    assert all(request.query["account"] == ["x"] for request in asked)
    assert requests.codes.count(("token", "200")) == 4
    assert all(
        request.authorization is None or request.authorization.startswith("Bearer token-")
        for request in server.requests
        if request.path != "/auth"
    )


def test_a_token_is_kept_for_all_pages_and_renewed_once_it_has_expired() -> None:
    tokens = TokenRegistry(uses=2)
    with FakeServer({**tokens.routes(), "/auth": tokens.issue_token}) as server:
        tokens.realm = f"{server.url}/auth"
        path = "/v2/app/tags/list"
        pages = {f"{n}": tag_list(f"{n}", link=f"?last={n + 1}") for n in range(4)}
        listing = paged(pages | {"4": tag_list("4")}, tag_list(link="?last=0"))
        guard = server.routes[path]
        assert callable(guard)

        def answer(request: Request) -> Reply:
            reply = guard(request)
            return listing(request) if reply.status == 200 and callable(listing) else reply

        server.routes[path] = answer
        view = poll(endpoint_of(server.url), ignore)
    assert view.tags["app"] == frozenset("01234")
    for_app = [r for r in server.asked("/auth") if r.query.get("scope") == ["repository:app:pull"]]
    assert len(for_app) == 3  # six pages, two requests for each token


def test_a_token_that_is_refused_at_once_is_not_renewed_endlessly() -> None:
    tokens = TokenRegistry(uses=0)
    with FakeServer({**tokens.routes(), "/auth": tokens.issue_token}) as server:
        tokens.realm = f"{server.url}/auth"
        message = failure(endpoint_of(server.url))
    assert f"/v2/ answered 401: the token from {server.url}/auth is not accepted" in message
    assert [request.path for request in server.requests] == ["/v2/", "/auth", "/v2/"]


def test_a_token_endpoint_on_another_host_does_not_get_the_login() -> None:
    tokens = TokenRegistry()
    tokens.anonymous = True
    with (
        FakeServer({"/auth": tokens.issue_token}) as other,
        FakeServer(tokens.routes()) as server,
    ):
        tokens.realm = f"{other.url.replace('://', '://user:hidden@')}/auth"
        view = poll(endpoint_of(server.url), ignore)
    assert set(view.tags) == {"app", "lib"}
    assert len(other.requests) == 4
    assert {request.authorization for request in other.requests} == {None}


@pytest.mark.parametrize("uses", [None, 0], ids=["no token given", "token refused"])
def test_the_error_of_an_insufficient_anonymous_token_reports_the_unsent_login(
    uses: int | None,
) -> None:
    tokens = TokenRegistry(uses=uses or 0)
    tokens.anonymous = uses is not None
    with (
        FakeServer({"/auth": tokens.issue_token}) as other,
        FakeServer(tokens.routes()) as server,
    ):
        tokens.realm = f"{other.url}/auth"
        message = failure(endpoint_of(server.url))
    assert f"the username and password are for {server.url} only" in message
    assert f"were not sent to {other.url}" in message
    assert {request.authorization for request in other.requests} == {None}


def test_the_error_of_the_token_endpoint_without_a_login_has_the_options_to_set() -> None:
    tokens = TokenRegistry()
    with FakeServer({**tokens.routes(), "/auth": tokens.issue_token}) as server:
        tokens.realm = f"{server.url}/auth"
        message = failure(endpoint_of(server.url, login=False))
    assert f"the token endpoint {server.url}/auth answered 401" in message
    assert "set --registry.username and --registry.password-file" in message


@pytest.mark.parametrize(
    ("reply", "reason"),
    [
        (Reply(status=500), "answered 500"),
        (Reply(status=302, headers={"Location": "http://other.example/?hidden"}), "a redirect to"),
        (Reply(b"<html>"), "did not answer with the JSON"),
        (Reply(b'{"token": 1}'), "did not answer with the JSON"),
        (Reply(b"{}"), "returned no token"),
        (Reply(b'{"token": ""}'), "returned no token"),
        (Reply(b'{"token": "hidden\\r\\nX-Evil: 1"}'), "returned no token"),
        (Reply(b'{"token": "hidden-\\u00e9"}'), "returned no token"),
    ],
)
def test_a_token_endpoint_without_a_token_makes_the_registry_unavailable(
    reply: Reply, reason: str
) -> None:
    tokens = TokenRegistry()
    with FakeServer({**tokens.routes(), "/auth": reply}) as server:
        tokens.realm = f"{server.url}/auth"
        assert reason in failure(endpoint_of(server.url))


def test_a_token_endpoint_that_hangs_is_a_timeout() -> None:
    tokens = TokenRegistry()
    with FakeServer(tokens.routes()) as server:
        tokens.realm = f"{server.url}/auth"
        server.routes["/auth"] = server.hang
        requests = Requests()
        assert "did not answer within" in failure(
            endpoint_of(server.url, timeout=TIMEOUT), requests
        )
    assert requests.codes[-1] == ("token", "error")


@pytest.mark.parametrize(
    "realm", ["", "/auth", "ftp://h/", "file:///etc/passwd", "http://a:b", "http://[::%\xe8]/"]
)
def test_an_invalid_token_endpoint_makes_the_registry_unavailable(realm: str) -> None:
    tokens = TokenRegistry()
    tokens.realm = realm
    with FakeServer(tokens.routes()) as server:
        assert "names no address to get one from" in failure(endpoint_of(server.url))


@pytest.mark.parametrize("challenge", [None, "Negotiate", 'Digest realm="x", nonce="y"'])
def test_an_unsupported_kind_of_login_is_the_reason_of_the_error(challenge: str | None) -> None:
    headers = {"WWW-Authenticate": challenge} if challenge else {}
    with FakeServer(with_routes(ping=Reply(status=401, headers=headers))) as server:
        message = failure(endpoint_of(server.url))
    assert "offers neither Basic nor Bearer" in message
    assert {request.authorization for request in server.requests} == {None}


@pytest.mark.parametrize(
    ("headers", "expected"),
    [
        ([], []),
        ([""], []),
        (['Basic realm="x"'], [Challenge("basic", {"realm": "x"})]),
        (["bASIC"], [Challenge("basic", {})]),
        (
            ['BEARER Realm="http://h/a,b=c" , service=s,scope="repository:a:pull,push"'],
            [
                Challenge(
                    "bearer",
                    {"realm": "http://h/a,b=c", "service": "s", "scope": "repository:a:pull,push"},
                )
            ],
        ),
        (
            ['Negotiate, Basic realm="a \\"quoted\\" b", Bearer realm = "r"'],
            [
                Challenge("negotiate", {}),
                Challenge("basic", {"realm": 'a "quoted" b'}),
                Challenge("bearer", {"realm": "r"}),
            ],
        ),
        (
            ["Negotiate YWJj==, NTLM YWJj", 'Basic realm="x"'],
            [Challenge("negotiate", {}), Challenge("ntlm", {}), Challenge("basic", {"realm": "x"})],
        ),
        (['Bearer realm="first",realm="second"'], [Challenge("bearer", {"realm": "first"})]),
        (
            ['Basic realm="x", Bearer "broken'],
            [Challenge("basic", {"realm": "x"}), Challenge("bearer", {})],
        ),
    ],
)
def test_challenges_are_parsed_by_the_grammar(
    headers: list[str], expected: list[Challenge]
) -> None:
    assert parse_challenges(headers) == expected


@pytest.mark.parametrize(
    "header", ["a" * 90_000, "a " * 45_000, ", " * 45_000, 'a="' * 30_000, "a =" * 30_000,
               'Basic a="' + "\\" * 90_000, "Basic " + "=" * 90_000, "Basic " + "a=" * 45_000],
    ids=lambda header: header[:12],
)  # fmt: skip
def test_parsing_a_challenge_is_fast_whatever_it_contains(header: str) -> None:
    started = time.monotonic()
    parse_challenges([header])
    assert time.monotonic() - started < PATIENCE


def test_a_challenge_too_long_for_an_address_is_an_error() -> None:
    challenge = Challenge("bearer", {"realm": "https://h/token", "service": "s" * 70_000})
    with pytest.raises(ApiUnavailableError, match="from https://h/token is too long"):
        token_url(challenge, None)


def test_several_scopes_are_requested_as_separate_parameters() -> None:
    challenge = Challenge("bearer", {"realm": "https://h/token", "scope": "a:b:pull c:d:pull"})
    assert parse_qs(token_url(challenge, None).query.decode()) == {
        "scope": ["a:b:pull", "c:d:pull"]
    }
