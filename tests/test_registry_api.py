"""The HTTP API of a real registry, and the paging of its lists."""

import asyncio
import itertools
from pathlib import Path

import httpx
import pytest
from pydantic import SecretStr

from exporter.domain.model import ApiView
from exporter.registry.api_client import (
    Limits,
    RegistryEndpoint,
    poll,
    read_api,
)
from tests.fake_registry import (
    FakeServer,
    Reply,
    Requests,
    catalog,
    endpoint_of,
    failure,
    ignore,
    paged,
    routes_of,
    tag_list,
    with_routes,
)
from tests.servers import USERNAME, DockerRegistry, RegistryClient


def test_every_repository_is_read_with_its_tags_after_a_login(
    registry: DockerRegistry, registry_client: RegistryClient
) -> None:
    registry_client.push_image("app", "1", [b"layer"])
    registry_client.push_image("app", "2", [b"layer", b"another"], oci=True)
    registry_client.push_image("team/nested/app", "latest", [b"layer"])

    requests = Requests()
    view = poll(endpoint_of(registry.url), requests)

    assert view == ApiView({"app": frozenset({"1", "2"}), "team/nested/app": frozenset({"latest"})})
    assert requests.codes == [
        ("ping", "401"),
        ("ping", "200"),
        ("catalog", "200"),
        ("tags", "200"),
        ("tags", "200"),
    ]
    assert all(0 < seconds < 10 for seconds in requests.seconds)


def test_an_empty_registry_has_an_empty_view(registry: DockerRegistry) -> None:
    assert poll(endpoint_of(registry.url), ignore) == ApiView({})


def test_a_wrong_password_is_tried_once_and_is_the_reason_of_the_error(
    registry: DockerRegistry,
) -> None:
    requests = Requests()
    message = failure(RegistryEndpoint(registry.url, USERNAME, SecretStr("wrong")), requests)
    assert message == (
        f"{registry.url}/v2/ answered 401: the username and password are not accepted; "
        "check --registry.username and --registry.password-file"
    )
    assert requests.codes == [("ping", "401"), ("ping", "401")]


def test_a_missing_login_is_an_error_with_the_options_to_set(registry: DockerRegistry) -> None:
    message = failure(endpoint_of(registry.url, login=False))
    assert "set --registry.username and --registry.password-file" in message


def test_a_stopped_registry_is_unavailable_until_it_is_back(
    registry: DockerRegistry, registry_client: RegistryClient
) -> None:
    registry_client.push_image("app", "1", [b"layer"])
    registry.stop()
    requests = Requests()
    assert "Connection refused" in failure(endpoint_of(registry.url), requests)
    assert requests.codes == [("ping", "error")]

    registry.start()
    assert poll(endpoint_of(registry.url), ignore).tags == {"app": frozenset({"1"})}

    registry.restart()
    assert poll(endpoint_of(registry.url), ignore).tags == {"app": frozenset({"1"})}


def test_repositories_on_all_pages_of_the_catalog_are_read(tmp_path: Path) -> None:
    names = [f"team-{number % 3}/app-{number:03}" for number in range(130)]
    with DockerRegistry(tmp_path) as server, RegistryClient(server.url) as client:
        for name in names:
            client.push_image(name, f"of-{name[-3:]}", [])
        requests = Requests()
        view = poll(endpoint_of(server.url, login=False), requests)
    assert view.tags == {name: frozenset({f"of-{name[-3:]}"}) for name in names}
    assert requests.codes.count(("catalog", "200")) == 2


def test_repositories_without_tags_stay_in_the_view(
    registry: DockerRegistry, registry_client: RegistryClient
) -> None:
    deleted = registry_client.push_image("deleted", "1", [b"layer"])
    registry_client.delete_manifest("deleted", deleted)
    registry_client.push_image("untagged", None, [b"layer"])
    registry_client.push_blob("blobs-only", b"layer")

    view = poll(endpoint_of(registry.url), ignore)

    assert view.tags == dict.fromkeys(("blobs-only", "deleted", "untagged"), frozenset())


def test_all_pages_of_a_tag_list_are_read_with_every_form_of_link() -> None:
    with FakeServer({}) as server:
        path = "/v2/app/tags/list"
        third = Reply(b'{"tags": ["c"]}', headers={"Link": f"<{server.url}{path}?last=d>;rel=next"})
        second = Reply(
            b'{"tags": ["b"]}',
            headers={"link": f'<{path}>; title="a, b"; rel="first", <?last=c>; REL="up Next"'},
        )
        pages = {"b": second, "c": third, "d": tag_list("d", "a")}
        first = tag_list("a", link=f"{path}?n=1&last=b")
        server.routes |= with_routes(tags=paged(pages, first))
        view = poll(endpoint_of(server.url), ignore)
    assert view.tags == {"app": frozenset("abcd")}
    assert server.asked(path)[0].query == {}
    assert server.asked("/v2/_catalog")[0].query == {}


def test_other_links_are_not_next_pages() -> None:
    headers = {"Link": '</v2/_catalog?last=x>; rel="prev", </next>; rel="nextish"'}
    reply = Reply(b'{"repositories": []}', headers=headers)
    with FakeServer(with_routes(catalog=reply)) as server:
        assert poll(endpoint_of(server.url), ignore) == ApiView({})


@pytest.mark.parametrize("elsewhere", ["http://user:hidden@OTHER/v2/_catalog?n=1", "//OTHER/v2/"])
def test_a_page_on_another_origin_is_not_requested(elsewhere: str) -> None:
    with FakeServer(routes_of(app=["1"])) as other, FakeServer({}) as server:
        link = elsewhere.replace("OTHER", other.url.removeprefix("http://"))
        server.routes |= with_routes(catalog=catalog("app", link=link))
        message = failure(endpoint_of(server.url))
    assert f"names {other.url}/v2/" in message
    assert "another origin" in message
    assert other.requests == []


@pytest.mark.parametrize("link", ["/v2/other/tags/list?last=1", "/admin?delete=all", "http://a:b"])
def test_a_page_of_something_else_is_not_requested(link: str) -> None:
    with FakeServer(with_routes(catalog=catalog("app", link=link))) as server:
        failure(endpoint_of(server.url))
    assert [request.path for request in server.requests] == ["/v2/", "/v2/_catalog"]


@pytest.mark.parametrize("link", ["/v2/_catalog?last=b", "/v2/_catalog", ""])
@pytest.mark.parametrize("replaced", ["catalog", "tags"])
def test_a_repeated_page_is_not_requested_again(replaced: str, link: str) -> None:
    path = {"catalog": "/v2/_catalog", "tags": "/v2/app/tags/list"}[replaced]
    page = link.replace("/v2/_catalog", path) or "?"
    listing = catalog("app", link=page) if replaced == "catalog" else tag_list("1", link=page)
    with FakeServer(with_routes(**{replaced: listing})) as server:
        assert f"{path} has endless pages" in failure(endpoint_of(server.url))
    assert len(server.asked(path)) <= 2


def test_endless_pages_are_an_error_after_a_thousand() -> None:
    numbers = itertools.count()

    def endless(_: httpx.Request) -> httpx.Response:
        headers = {"Link": f'</v2/_catalog?last={next(numbers)}>; rel="next"'}
        return httpx.Response(200, json={"repositories": ["app"]}, headers=headers)

    requests = Requests()
    endpoint = endpoint_of("http://registry.example")
    message = failure(endpoint, requests, transport=httpx.MockTransport(endless))
    assert "_catalog has endless pages" in message
    assert requests.codes.count(("catalog", "200")) == 1000


def test_too_many_names_are_an_error() -> None:
    first = tag_list("a", "b", link="?last=2")
    pages = paged({"2": tag_list("c", "d")}, first)
    with FakeServer(with_routes(tags=pages)) as server:
        message = failure(endpoint_of(server.url), limits=Limits(names=3))
        assert "tags/list lists more than 3 names" in message
        view = asyncio.run(read_api(endpoint_of(server.url), ignore, limits=Limits(names=4)))
    assert view.tags["app"] == frozenset("abcd")


def test_a_repository_listed_twice_is_requested_once() -> None:
    with FakeServer(with_routes(catalog=catalog("app", "app"))) as server:
        assert poll(endpoint_of(server.url), ignore).tags == {"app": frozenset({"1"})}
    assert len(server.asked("/v2/app/tags/list")) == 1


@pytest.mark.parametrize(
    "reply", [Reply(b'{"tags": null}'), Reply(b'{"tags": []}'), Reply(status=404)]
)
def test_null_empty_and_not_found_all_mean_no_tags(reply: Reply) -> None:
    with FakeServer(with_routes(tags=reply)) as server:
        assert poll(endpoint_of(server.url), ignore).tags == {"app": frozenset()}


def test_a_registry_below_a_path_is_read_although_its_links_lack_the_path() -> None:
    pages = paged({"a": catalog("b")}, catalog("a", link="/v2/_catalog?last=a"))
    lists = {f"/some/where/v2/{name}/tags/list": tag_list(name) for name in "ab"}
    routes = {"/some/where/v2/": Reply(), "/some/where/v2/_catalog": pages, **lists}
    with FakeServer(routes) as server:
        for slash in ("", "/"):
            view = poll(endpoint_of(f"{server.url}/some/where{slash}"), ignore)
            assert view.tags == {"a": frozenset("a"), "b": frozenset("b")}
