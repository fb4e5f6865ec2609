"""Servers that hang, redirect, fail, or answer nonsense."""

import asyncio
import re
import socket
import ssl
import threading
import time

import httpx
import pytest
from hypothesis import given
from hypothesis import strategies as st

from exporter.domain.errors import ApiUnavailableError
from exporter.registry.api_client import (
    Limits,
    poll,
    read_api,
)
from exporter.registry.certificate import certificate_not_after
from tests.fake_registry import (
    PATIENCE,
    TIMEOUT,
    FakeServer,
    Reply,
    Request,
    Requests,
    Route,
    catalog,
    endpoint_of,
    failure,
    ignore,
    routes_of,
    tag_list,
    with_routes,
)
from tests.servers import PASSWORD, free_port


@pytest.mark.parametrize("replaced", ["ping", "catalog", "tags"])
@pytest.mark.parametrize("way", ["hang", "drip"])
def test_a_server_that_hangs_or_drips_is_a_timeout(replaced: str, way: str) -> None:
    with FakeServer(routes_of(app=["1"])) as server:
        server.routes |= with_routes(**{replaced: getattr(server, way)})
        requests = Requests()
        started = time.monotonic()
        message = failure(endpoint_of(server.url, timeout=TIMEOUT), requests)
        assert time.monotonic() - started < PATIENCE
    assert "did not answer within 0.3 s" in message
    assert requests.codes[-1] == (replaced, "error")


def test_reading_ends_if_all_requests_together_take_too_long() -> None:
    names = [f"app{number}" for number in range(400)]
    with FakeServer(routes_of(**dict.fromkeys(names, ("1",)))) as server:

        def slow(_: Request) -> Reply:
            server.ended.wait(0.1)
            return tag_list("1")

        server.routes |= {f"/v2/{name}/tags/list": slow for name in names}
        started = time.monotonic()
        message = failure(endpoint_of(server.url), limits=Limits(seconds=TIMEOUT))
        assert time.monotonic() - started < PATIENCE
    assert f"reading all tags from {server.url} took more than 0.3 s" in message


def test_at_most_eight_requests_run_at_once() -> None:
    names = [f"app{number}" for number in range(40)]
    busy: list[int] = []
    most: list[int] = []

    def slow(_: Request) -> Reply:
        busy.append(1)
        most.append(len(busy))
        time.sleep(0.01)
        busy.pop()
        return tag_list("1")

    routes: dict[str, Route] = {f"/v2/{name}/tags/list": slow for name in names}
    with FakeServer(routes_of(**dict.fromkeys(names, ("1",))) | routes) as server:
        view = poll(endpoint_of(server.url), ignore)
    assert set(view.tags) == set(names)
    assert 1 < max(most) <= 8


@pytest.mark.parametrize("replaced", ["ping", "catalog", "tags"])
@pytest.mark.parametrize("status", [301, 302, 307, 308])
def test_a_redirect_is_not_followed_and_its_target_is_shown_without_secrets(
    replaced: str, status: int
) -> None:
    with FakeServer(routes_of(app=["1"])) as other, FakeServer({}) as server:
        target = f"{other.url.replace('://', '://user:hidden@')}/v2/?token=hidden"
        moved = Reply(status=status, headers={"Location": target})
        server.routes |= with_routes(**{replaced: moved})
        message = failure(endpoint_of(server.url))
    assert f"answered {status}: a redirect to {other.url}/v2/, which is not followed" in message
    assert "--registry.url" in message
    assert other.requests == []


@pytest.mark.parametrize("location", ["http://[", "http://a:b:c/", "//\x80", "http://xn--a/"])
def test_a_redirect_to_an_invalid_address_is_an_error_too(location: str) -> None:
    moved = Reply(status=302, headers={"Location": location})
    with FakeServer(with_routes(ping=moved)) as server:
        assert "answered 302: a redirect to" in failure(endpoint_of(server.url))


ERRORS = [
    (400, "a registry does not answer that; check scheme and port of --registry.url"),
    (403, "set --registry.username and --registry.password-file if it wants a login"),
    (404, "no registry is there; check host, port and path of --registry.url"),
    (429, "it gets too many requests; raise --scan.interval"),
    (500, "the registry or a proxy in front of it fails; look at its log"),
    (503, "the registry or a proxy in front of it fails; look at its log"),
]


@pytest.mark.parametrize(
    ("replaced", "status", "reason"),
    [
        (replaced, status, reason)
        for replaced in ("ping", "catalog", "tags")
        for status, reason in ERRORS
        if (replaced, status) != ("tags", 404)  # means a repository without tags
    ],
)
def test_an_error_status_is_reported_with_a_hint(replaced: str, status: int, reason: str) -> None:
    with FakeServer(with_routes(**{replaced: Reply(status=status)})) as server:
        requests = Requests()
        message = failure(endpoint_of(server.url, login=False), requests)
    assert f"answered {status}: " in message
    assert reason in message
    assert requests.codes[-1] == (replaced, str(status))


def test_requests_cancelled_after_another_failed_do_not_count_as_errors() -> None:
    names = [f"app{number}" for number in range(8)]
    with FakeServer(routes_of(**dict.fromkeys(names, ("1",)))) as server:
        server.routes |= {f"/v2/{name}/tags/list": server.hang for name in names[1:]}
        server.routes[f"/v2/{names[0]}/tags/list"] = Reply(status=500)
        requests = Requests()
        assert "answered 500" in failure(endpoint_of(server.url), requests)
    assert [code for endpoint, code in requests.codes if endpoint == "tags"] == ["500"]


def test_a_user_without_access_to_the_catalog_is_an_error() -> None:
    challenge = {"WWW-Authenticate": 'Basic realm="x"'}

    def ping(request: Request) -> Reply:
        return Reply() if request.authorization else Reply(status=401, headers=challenge)

    with FakeServer(with_routes(ping=ping, catalog=Reply(status=403))) as server:
        message = failure(endpoint_of(server.url))
    assert "_catalog answered 403: the username and password are not accepted" in message


GARBAGE = [
    b"",
    b"<html>Welcome</html>",
    b"\xff\xfe\x00",
    b'{"KEY": ["\xff"]}',
    b'{"KEY": ["a"]',
    b'{"KEY": ["a"]} trailing',
    b"[]",
    b"null",
    b"{}",
    b'{"KEY": "a"}',
    b'{"KEY": {"a": 1}}',
    b'{"KEY": [1]}',
    b'{"KEY": [null]}',
    b'{"KEY": ["a", ["b"]]}',
    b'{"other": ' + b"[" * 100_000,
    b"[" * 100_000,
]


@pytest.mark.parametrize("body", GARBAGE, ids=lambda body: repr(body[:25]))
@pytest.mark.parametrize(("replaced", "key"), [("catalog", b"repositories"), ("tags", b"tags")])
def test_a_body_that_no_registry_sends_is_refused(replaced: str, key: bytes, body: bytes) -> None:
    with FakeServer(with_routes(**{replaced: Reply(body.replace(b"KEY", key))})) as server:
        message = failure(endpoint_of(server.url))
    assert "did not answer with the JSON of a registry" in message
    assert "check that --registry.url leads to the registry" in message


ILLEGAL_NAMES = ["", "../../etc", "a/../b", "/a", "a/", "a//b", "UPPER", "a b", "a?n=1", "é"]
ILLEGAL_TAGS = ["", ".a", "-a", "a/b", "a b", "a" * 129, "é", "a\n"]


@pytest.mark.parametrize("name", [*ILLEGAL_NAMES, "a" * 256, "\x1b[2J"])
def test_an_illegal_name_in_the_catalog_is_skipped(name: str) -> None:
    with FakeServer(with_routes(catalog=catalog("app", name))) as server:
        assert set(poll(endpoint_of(server.url), ignore).tags) == {"app"}


@pytest.mark.parametrize("name", [*ILLEGAL_TAGS, "\x1b[2J"])
def test_an_illegal_name_among_the_tags_is_skipped(name: str) -> None:
    with FakeServer(with_routes(tags=tag_list("1", name))) as server:
        tags = poll(endpoint_of(server.url), ignore).tags
    assert set().union(*tags.values()) == {"1"}


@pytest.mark.parametrize("name", [*ILLEGAL_NAMES, "a" * 256, "\x1b[2J"])
def test_a_catalog_without_one_legal_name_is_refused_and_shown_escaped(name: str) -> None:
    with FakeServer(with_routes(catalog=catalog(name))) as server:
        message = failure(endpoint_of(server.url))
    assert re.search(r"lists the name '.*', which is not legal", message)
    assert message.isascii()
    assert message.isprintable()
    assert len(message) < 400


def test_an_endless_body_is_cut_off() -> None:
    with FakeServer({}) as server:
        endless = Reply(b"[" * 65_536 for _ in iter(server.ended.is_set, True))
        server.routes |= with_routes(catalog=endless)
        message = failure(endpoint_of(server.url))
    assert "answered more than 33554432 bytes" in message


def test_a_body_is_not_decompressed() -> None:
    packed = Reply(b"\x1f\x8b\x08", headers={"Content-Encoding": "gzip"})
    with FakeServer(with_routes(catalog=packed)) as server:
        assert "did not answer with the JSON" in failure(endpoint_of(server.url))
    assert server.requests[0].headers["Accept-Encoding"] == "identity"


def test_an_error_quotes_only_a_part_of_an_invalid_http_answer() -> None:
    chunks = [b"2\r\n{}\r\n", b"X" * 5000, b"\r\n"]
    broken = Reply(chunks, headers={"Transfer-Encoding": "chunked"})
    with FakeServer(with_routes(catalog=broken)) as server:
        message = failure(endpoint_of(server.url))
    assert "XXX" in message
    assert len(message) < 500


@pytest.mark.parametrize("sent", [b"", b"SSH-2.0-OpenSSH_9.2\r\n", b"HTTP/1.1 200 OK\r\n"])
def test_a_server_that_does_not_speak_http_is_unavailable(sent: bytes) -> None:
    with socket.create_server(("127.0.0.1", 0)) as listener:

        def serve() -> None:
            client, _ = listener.accept()
            with client:
                client.recv(65_536)
                client.sendall(sent)

        thread = threading.Thread(target=serve)
        thread.start()
        message = failure(endpoint_of(f"http://127.0.0.1:{listener.getsockname()[1]}"))
        thread.join()
    assert "did not answer: " in message


@pytest.mark.parametrize("host", ["127.0.0.1", "localhost"])  # the second has two addresses
def test_the_error_of_a_server_that_is_down_has_the_reason_of_the_system(host: str) -> None:
    message = failure(endpoint_of(f"http://{host}:{free_port()}"))
    assert (
        "did not answer: Connection refused; check that a server runs there, and look at its log"
        in message
    )


def test_the_error_of_an_unknown_host_names_the_option_to_check() -> None:
    too_long = "a" * 64  # for a label, so that no name server is queried
    message = failure(endpoint_of(f"http://{too_long}.example"))
    assert message.endswith("check the host in --registry.url")


@pytest.mark.parametrize(
    "error",
    [
        httpx.ReadError("broken"),
        httpx.ConnectTimeout("slow"),
        ssl.SSLError(1, "[SSL: BAD_RECORD_MAC] bad"),
        ConnectionResetError(104, "reset"),
        TimeoutError(),
        UnicodeError("label too long"),
    ],
    ids=repr,
)
def test_every_error_below_http_makes_the_registry_unavailable(error: Exception) -> None:
    def answer(_: httpx.Request) -> httpx.Response:
        raise error

    endpoint = endpoint_of("http://registry.example")
    message = failure(endpoint, transport=httpx.MockTransport(answer))
    assert message.startswith("http://registry.example/v2/ did not answer")


@pytest.mark.parametrize(
    "url",
    ["", "registry:5000", "//registry", "ftp://registry", "http://", "http://a:b",
     "http://xn--a", "http://registry:99999", "http://user:hidden@:5000", "http://a\n"],
)  # fmt: skip
def test_the_error_of_an_invalid_url_does_not_repeat_it(url: str) -> None:
    assert (
        "--registry.url is not a usable address; write it like https://registry.example.com:5000"
        in failure(endpoint_of(url))
    )
    with pytest.raises(ApiUnavailableError, match="is not a usable address"):
        certificate_not_after(endpoint_of(url))


def test_userinfo_and_query_of_the_url_are_ignored_and_not_shown() -> None:
    with FakeServer(with_routes(catalog=Reply(status=500))) as server:
        url = server.url.replace("://", "://user:hidden@") + "/?key=hidden"
        message = failure(endpoint_of(url, login=False))
    assert f"{server.url}/v2/_catalog answered 500" in message
    assert [(request.authorization, request.query) for request in server.requests] == [
        (None, {}),
        (None, {}),
    ]


def test_the_password_is_not_in_the_repr() -> None:
    assert PASSWORD not in repr(endpoint_of("http://registry.example"))


@given(
    status=st.sampled_from([200, 302, 401, 404]),
    header=st.sampled_from(["Link", "Location", "WWW-Authenticate"]),
    start=st.sampled_from(["", "<", "http://", "//", 'Bearer realm="http://', "Basic "]),
    value=st.text(st.characters(min_codepoint=32, max_codepoint=255), max_size=40),
    body=st.binary(max_size=20) | st.just(b'{"repositories": [], "tags": []}'),
)
def test_no_header_or_body_raises_another_error(
    status: int, header: str, start: str, value: str, body: bytes
) -> None:
    strange = (start + value).encode("latin-1")

    def answer(request: httpx.Request) -> httpx.Response:
        if request.url.path == "/v2/" and header == "Link":
            return httpx.Response(200)
        return httpx.Response(status, headers=[(header.encode(), strange)], content=body)

    endpoint = endpoint_of("http://registry.example")
    try:
        asyncio.run(read_api(endpoint, ignore, transport=httpx.MockTransport(answer)))
    except ApiUnavailableError as error:
        assert PASSWORD not in str(error)  # noqa: PT017 - no error is fine too
