"""What changes a registry, on real registries, and on what can be in front of them."""

import json
from collections.abc import Iterator
from contextlib import AbstractContextManager
from dataclasses import dataclass, field
from pathlib import Path

import pytest
import trustme
from pydantic import SecretStr

from exporter.compose import registry_editor
from exporter.domain.errors import (
    ApiUnavailableError,
    ConfigurationError,
    ContentRefusedError,
    RegistryRefusesError,
    UntaggingUnsupportedError,
)
from exporter.registry.editor import open_editor
from exporter.registry.http import RegistryEndpoint
from exporter.registry.port import RegistryEditor
from exporter.registry.retries import ATTEMPTS, pause_before, wished_pause
from exporter.registry.schema_1 import SCHEMA_1_TYPES
from exporter.registry.session import Pace
from exporter.settings.model import Settings
from tests.fake_registry import TIMEOUT, FakeServer, Reply, Request, endpoint_of, ignore
from tests.registry_proxy import RegistryProxy, Tokens, failing, pass_on
from tests.servers import (
    DOCKER_MANIFEST,
    OCI_MANIFEST,
    PASSWORD,
    USERNAME,
    DockerRegistry,
    RegistryClient,
    descriptor,
    digest_of,
    encode,
    image_manifest,
    require_registry,
    schema_1_manifest,
)

BOTH = [2, 3]
MIB = 1024 * 1024
NOWHERE = f"sha256:{'1' * 64}"
UNAVAILABLE = Reply(b"", 503)


@dataclass
class Clock:
    """Time that passes only while somebody sleeps."""

    seconds: float = 1000.0
    naps: list[float] = field(default_factory=list)

    def __call__(self) -> float:
        return self.seconds

    def sleep(self, seconds: float) -> None:
        self.naps.append(seconds)
        self.seconds += seconds


def editor_of(
    url: str, *, login: bool = False, timeout: float = 10.0, pace: Pace | None = None
) -> AbstractContextManager[RegistryEditor]:
    endpoint = endpoint_of(url, login=login, timeout=timeout)
    return open_editor(endpoint, None, ignore, pace or Pace(None))


def pace_of(clock: Clock, max_rate: int | None = None, chance: float = 1.0) -> Pace:
    return Pace(max_rate, clock=clock, sleep=clock.sleep, now=clock, chance=lambda: chance)


@pytest.fixture(params=BOTH)
def version(request: pytest.FixtureRequest) -> int:
    number = request.param
    assert isinstance(number, int)
    return number


@pytest.fixture
def server(version: int, tmp_path: Path) -> Iterator[DockerRegistry]:
    program = require_registry(version)
    with DockerRegistry(tmp_path / "store", program=program) as registry:
        yield registry


@pytest.fixture
def second(tmp_path: Path) -> Iterator[DockerRegistry]:
    """Run version 2, where the registry's version makes no difference."""
    with DockerRegistry(tmp_path / "store") as registry:
        yield registry


def content_of(root: Path) -> dict[str, bytes]:
    """Return every file of a store with its content."""
    return {
        str(path.relative_to(root)): path.read_bytes() for path in root.rglob("*") if path.is_file()
    }


def push_every_kind(client: RegistryClient) -> list[tuple[str, str]]:
    """Push a manifest of each kind; return digests and tags, what is listed before the lists."""
    docker = client.push_image("team/app", "docker", [b"one layer"])
    oci = client.push_image("team/app", "oci", [b"another layer"], oci=True)
    index = client.push_index("team/app", "index", [docker, oci], oci=True)
    manifests = client.push_index("team/app", "list", [docker])
    config = client.push_blob("team/app", b"{}")
    content, _ = client.manifest("team/app", "oci")
    signature = {
        "schemaVersion": 2,
        "mediaType": OCI_MANIFEST,
        "artifactType": "application/vnd.example.signature",
        "config": {"mediaType": "application/vnd.oci.empty.v1+json", "size": 2, "digest": config},
        "layers": [],
        "subject": descriptor(content, OCI_MANIFEST),
    }
    artifact = client.push_manifest("team/app", "artifact", signature, OCI_MANIFEST)
    tags = ("docker", "oci", "index", "list", "artifact")
    return list(zip((docker, oci, index, manifests, artifact), tags, strict=True))


def test_a_manifest_of_each_kind_is_deleted_and_put_back_to_the_byte(
    server: DockerRegistry,
) -> None:
    with RegistryClient(server.url) as client, editor_of(server.url) as editor:
        pushed = push_every_kind(client)
        before = content_of(server.root)
        kept = []
        for digest, tag in reversed(pushed):
            assert editor.manifest_digest("team/app", tag) == digest
            manifest = editor.manifest("team/app", digest)
            assert manifest is not None
            assert manifest == editor.manifest("team/app", tag)
            assert (manifest.content, manifest.media_type) == client.manifest("team/app", tag)
            assert manifest.digest == digest_of(manifest.content) == digest
            assert editor.delete_manifest("team/app", digest)
            assert editor.manifest_digest("team/app", tag) is None
            assert editor.manifest_digest("team/app", digest) is None
            assert editor.manifest("team/app", digest) is None
            assert not editor.delete_manifest("team/app", digest)
            kept.append((manifest, tag))
        assert client.tags("team/app") == []
        for manifest, tag in reversed(kept):
            for reference in (manifest.digest, tag):
                editor.put_manifest("team/app", reference, manifest.content, manifest.media_type)
    assert content_of(server.root) == before


def test_a_manifest_of_schema_1_is_put_back_with_a_new_signature(tmp_path: Path) -> None:
    payload = schema_1_manifest([b"layer"])
    with (
        DockerRegistry(tmp_path, schema_1=True) as server,
        RegistryClient(server.url) as client,
        editor_of(server.url) as editor,
    ):
        client.push_blob("app", b"layer")
        editor.put_manifest("app", "1", payload, SCHEMA_1_TYPES[0])
        before = content_of(server.root)
        assert payload in before.values()
        digest = digest_of(payload)
        assert editor.manifest_digest("app", "1") == digest
        served = editor.manifest("app", "1")
        assert served is not None
        assert served.digest == digest
        assert editor.delete_manifest("app", digest)
        editor.put_manifest("app", "1", served.content, served.media_type)
        assert content_of(server.root) == before
        assert editor.delete_manifest("app", digest)
        for reference in (digest, "1"):
            editor.put_manifest("app", reference, payload, SCHEMA_1_TYPES[1])
        assert content_of(server.root) == before


def test_what_no_repository_has_is_not_there(server: DockerRegistry) -> None:
    with editor_of(server.url) as editor:
        assert editor.manifest_digest("nobody/pushed", "1.0") is None
        assert editor.manifest("nobody/pushed", NOWHERE) is None
        assert not editor.delete_manifest("nobody/pushed", NOWHERE)
        assert not editor.has_blob("nobody/pushed", NOWHERE)
        assert not editor.mount_blob("app", NOWHERE, "nobody/pushed")
    uploads = list(server.root.glob("**/_uploads/*"))
    assert all((each / "startedat").exists() for each in uploads)  # so that it is purged


def test_a_tag_is_removed_alone_by_version_3_only(server: DockerRegistry, version: int) -> None:
    with RegistryClient(server.url) as client, editor_of(server.url) as editor:
        digest = client.push_image("app", "stays", [b"layer"])
        client.push_manifest("app", "goes", client.manifest("app", "stays")[0], DOCKER_MANIFEST)
        if version == 3:
            assert editor.untag("app", "goes")
            assert not editor.untag("app", "goes")
            assert client.tags("app") == ["stays"]
        else:
            for tag in ("goes", "never-was"):
                with pytest.raises(UntaggingUnsupportedError, match=f"app:{tag}"):
                    editor.untag("app", tag)
            assert client.tags("app") == ["goes", "stays"]
        assert editor.manifest_digest("app", "stays") == digest


def test_a_layer_is_uploaded_in_parts_and_mounted(server: DockerRegistry) -> None:
    parts = [bytes([number]) * MIB for number in range(7)]
    digest = digest_of(b"".join(parts))
    with editor_of(server.url) as editor:
        assert not editor.has_blob("app", digest)
        editor.put_blob("app", digest, 7 * MIB, lambda: iter(parts))
        assert editor.has_blob("app", digest)
        assert not editor.has_blob("other", digest)
        assert editor.mount_blob("other", digest, "app")
        assert editor.has_blob("other", digest)
    hexadecimal = digest.removeprefix("sha256:")
    (data,) = server.root.glob(f"**/{hexadecimal}/data")
    assert data.read_bytes() == b"".join(parts)
    assert not list(server.root.glob("**/_uploads/*"))


def test_content_that_the_registry_refuses_is_an_error_of_its_own(server: DockerRegistry) -> None:
    manifest = encode(image_manifest([b"nobody has this"]))
    with editor_of(server.url) as editor:
        with pytest.raises(ContentRefusedError, match=r"400.*DIGEST_INVALID") as refused:
            editor.put_blob("app", NOWHERE, 5, lambda: iter([b"other"]))
        assert refused.value.code == "DIGEST_INVALID"
        with pytest.raises(ContentRefusedError, match="BLOB_UNKNOWN") as refused:
            editor.put_manifest("app", digest_of(manifest), manifest, DOCKER_MANIFEST)
        assert "BLOB_UNKNOWN" in refused.value.code
        with pytest.raises(ContentRefusedError, match="400"):
            editor.put_manifest("app", "1.0", b"no manifest", DOCKER_MANIFEST)


@pytest.mark.parametrize("of", BOTH)
def test_a_registry_that_allows_no_deletion_refuses_with_the_remedy(
    tmp_path: Path, of: int
) -> None:
    program = require_registry(of)
    with (
        DockerRegistry(tmp_path, delete=False, program=program) as server,
        RegistryClient(server.url) as client,
        editor_of(server.url) as editor,
    ):
        digest = client.push_image("app", "1", [b"layer"])
        remedy = "405 to DELETE.*UNSUPPORTED.*REGISTRY_STORAGE_DELETE_ENABLED=true"
        with pytest.raises(RegistryRefusesError, match=remedy):
            editor.delete_manifest("app", digest)
        assert editor.manifest_digest("app", "1") == digest


def test_a_read_only_registry_takes_nothing(tmp_path: Path) -> None:
    with DockerRegistry(tmp_path, read_only=True) as server, editor_of(server.url) as editor:
        with pytest.raises(RegistryRefusesError, match=r"405 to PUT.*read-only"):
            editor.put_manifest("app", "1", b"{}", DOCKER_MANIFEST)
        with pytest.raises(RegistryRefusesError, match=r"405 to PUT.*read-only"):
            editor.put_blob("app", NOWHERE, 1, lambda: iter([b"x"]))


def test_a_pull_through_cache_takes_nothing_and_deletes_nothing(
    tmp_path: Path, second: DockerRegistry
) -> None:
    with (
        DockerRegistry(tmp_path / "cache", cache_of=second.url) as cache,
        editor_of(cache.url) as editor,
    ):
        manifest = encode(image_manifest([b"layer"]))
        with pytest.raises(RegistryRefusesError, match=r"405 to PUT.*pull-through cache never"):
            editor.put_manifest("app", "1", manifest, DOCKER_MANIFEST)
        with pytest.raises(RegistryRefusesError, match=r"405 to DELETE.*pull-through cache never"):
            editor.delete_manifest("app", NOWHERE)


def test_a_password_is_sent_once_asked_for_and_a_wrong_one_tried_once(
    registry: DockerRegistry,
) -> None:
    layer = b"a layer"
    with editor_of(registry.url, login=True) as editor:
        editor.put_blob("app", digest_of(layer), len(layer), lambda: iter([layer]))
        assert editor.has_blob("app", digest_of(layer))
    clock = Clock()
    wrong = RegistryEndpoint(registry.url, USERNAME, SecretStr("hidden"))
    with (
        open_editor(wrong, None, ignore, pace_of(clock)) as editor,
        pytest.raises(RegistryRefusesError, match=r"not accepted; check --registry\.user") as no,
    ):
        editor.delete_manifest("app", NOWHERE)
    assert "hidden" not in str(no.value)
    assert clock.naps == []


def test_tokens_that_end_in_the_middle_are_renewed_and_allow_no_more_than_needed(
    second: DockerRegistry,
) -> None:
    tokens = Tokens(requests=3)
    layer = b"a layer"
    with (
        RegistryClient(second.url) as client,
        RegistryProxy(second.url, gate=tokens) as proxy,
        editor_of(proxy.url, login=True) as editor,
    ):
        tokens.address = proxy.url
        digest = client.push_image("team/app", "1", [layer])
        manifest = editor.manifest("team/app", "1")
        assert manifest is not None
        for _ in range(4):
            assert editor.delete_manifest("team/app", digest)
            for reference in (digest, "1"):
                editor.put_manifest("team/app", reference, manifest.content, manifest.media_type)
            assert editor.manifest_digest("team/app", "1") == digest
        editor.put_blob("other", digest_of(layer), len(layer), lambda: iter([layer]))
    asked = {scope: tokens.scopes.count(scope) for scope in tokens.scopes}
    assert asked == {
        "repository:team/app:pull": 2,
        "repository:team/app:delete": 2,
        "repository:team/app:pull,push": 3,
        "repository:other:pull,push": 1,
    }


def test_a_login_without_the_right_to_delete_is_refused_at_once(second: DockerRegistry) -> None:
    clock, tokens = Clock(), Tokens(requests=9, refused="delete")
    with (
        RegistryProxy(second.url, gate=tokens) as proxy,
        editor_of(proxy.url, login=True, pace=pace_of(clock)) as editor,
    ):
        tokens.address = proxy.url
        with pytest.raises(RegistryRefusesError, match="what that user may do"):
            editor.delete_manifest("app", NOWHERE)
    assert (len(tokens.scopes), clock.naps) == (1, [])


def test_a_registry_below_a_path_is_changed(second: DockerRegistry) -> None:
    layer = b"a layer"
    with (
        RegistryClient(second.url) as client,
        RegistryProxy(second.url, prefix="/some/where") as proxy,
        editor_of(f"{proxy.url}/") as editor,
    ):
        digest = client.push_image("app", "1", [layer])
        editor.put_blob("other", digest_of(layer), len(layer), lambda: iter([layer]))
        assert editor.mount_blob("third", digest_of(layer), "other")
        assert editor.delete_manifest("app", digest)
        assert client.tags("app") == []
        # what is outside the path answers 404 too, which does not mean that it is gone
        with (
            editor_of(proxy.url.removesuffix("/some/where")) as lost,
            pytest.raises(ApiUnavailableError, match="404: no registry is there"),
        ):
            lost.delete_manifest("app", digest)


def test_failures_now_and_then_are_overcome(second: DockerRegistry) -> None:
    clock = Clock()
    gate = failing(5, UNAVAILABLE, Reply(b"", 500), Reply(b"", 429, {"Retry-After": "7"}))
    parts = [b"a" * MIB, b"b" * MIB]
    digest = digest_of(b"".join(parts))
    with (
        RegistryClient(second.url) as client,
        RegistryProxy(second.url, gate=gate) as proxy,
        editor_of(proxy.url, pace=pace_of(clock)) as editor,
    ):
        for number in range(9):
            image = client.push_image("app", str(number), [bytes([number])])
            manifest = editor.manifest("app", image)
            assert manifest is not None
            assert editor.delete_manifest("app", image)
            editor.put_manifest("app", image, manifest.content, manifest.media_type)
        editor.put_blob("app", digest, 2 * MIB, lambda: iter(parts))
        assert editor.has_blob("app", digest)
    assert sum(clock.naps) >= 7


def test_a_deletion_whose_answer_is_lost_counts_as_gone(second: DockerRegistry) -> None:
    lost: list[str] = []

    def gate(request: Request) -> Reply | None:
        if request.method != "DELETE" or lost:
            return None
        lost.append(request.path)
        assert pass_on(request, second.url + request.target).status == 202
        return Reply(b"", 502)

    with (
        RegistryClient(second.url) as client,
        RegistryProxy(second.url, gate=gate) as proxy,
        editor_of(proxy.url, pace=pace_of(Clock())) as editor,
    ):
        assert not editor.delete_manifest("app", client.push_image("app", "1", [b"layer"]))
        assert client.tags("app") == []


def test_too_many_requests_are_blamed_on_the_rate() -> None:
    limited = Reply(b"", 429, {"Retry-After": "1000"})
    clock = Clock()
    with (
        FakeServer({"/v2/app/manifests/1": limited}) as fake,
        editor_of(fake.url, pace=pace_of(clock)) as editor,
        pytest.raises(
            ApiUnavailableError, match="429: it gets too many requests; lower --max-rate"
        ),
    ):
        editor.manifest("app", "1")
    assert sum(clock.naps) == pytest.approx(300 * (ATTEMPTS - 1))


def test_attempts_end_after_half_a_minute_and_at_once_if_it_is_to_stop() -> None:
    clock = Clock()
    with FakeServer({"/v2/app/manifests/1": UNAVAILABLE}) as fake:
        with (
            editor_of(fake.url, pace=pace_of(clock)) as editor,
            pytest.raises(ApiUnavailableError, match=f"answered 503.*{ATTEMPTS} attempts"),
        ):
            editor.manifest("app", "1")
        assert len(fake.requests) == ATTEMPTS
        assert sum(clock.naps) == pytest.approx(30.5, abs=0.01)
        stopping = Pace(None, should_stop=lambda: True, clock=clock, sleep=clock.sleep)
        with (
            editor_of(fake.url, pace=stopping) as editor,
            pytest.raises(ApiUnavailableError, match="answered 503"),
        ):
            editor.manifest("app", "1")
        assert len(fake.requests) == ATTEMPTS + 1


def test_a_certificate_that_is_not_trusted_is_no_passing_failure(tmp_path: Path) -> None:
    clock, authority = Clock(), trustme.CA()
    tls = authority.issue_cert("127.0.0.1")
    chain, key = tmp_path / "chain", tmp_path / "key"
    tls.cert_chain_pems[0].write_to_path(chain)
    tls.private_key_pem.write_to_path(key)
    with (
        DockerRegistry(tmp_path / "store", tls=(chain, key)) as server,
        editor_of(server.url, pace=pace_of(clock)) as editor,
        pytest.raises(ApiUnavailableError, match=r"not trusted.*--registry\.ca-file"),
    ):
        editor.delete_manifest("app", NOWHERE)
    assert clock.naps == []


def test_requests_keep_to_the_rate(second: DockerRegistry) -> None:
    clock = Clock()
    with editor_of(second.url, pace=pace_of(clock, max_rate=50)) as editor:
        for _ in range(100):
            assert not editor.has_blob("app", NOWHERE)
    assert sum(clock.naps) == pytest.approx(2.0, abs=0.1)


def test_an_upload_may_take_long_but_the_answer_may_not(second: DockerRegistry) -> None:
    large = b"x" * (16 * MIB)
    fake_upload = {
        "/v2/app/blobs/uploads/": Reply(b"", 202, {"Location": "/v2/app/blobs/uploads/1"})
    }
    with FakeServer(fake_upload) as fake:
        fake.routes["/v2/app/blobs/uploads/1"] = lambda request: (
            Reply(b"", 204) if request.method == "DELETE" else fake.hang(request)
        )
        with (
            editor_of(fake.url, timeout=TIMEOUT, pace=pace_of(Clock())) as editor,
            pytest.raises(ApiUnavailableError, match="did not answer within"),
        ):
            editor.put_blob("app", NOWHERE, len(large), lambda: iter([large]))
        cancelled = [each for each in fake.requests if each.method == "DELETE"]
        assert len(cancelled) == ATTEMPTS

        def slowly() -> Iterator[bytes]:
            for _ in range(6):
                fake.ended.wait(TIMEOUT / 3)
                yield b"x"

        with editor_of(second.url, timeout=TIMEOUT) as editor:
            editor.put_blob("app", digest_of(b"xxxxxx"), 6, slowly)


def test_an_upload_is_sent_to_the_registry_alone(second: DockerRegistry) -> None:
    with FakeServer({}) as elsewhere:

        def gate(request: Request) -> Reply | None:
            reply = pass_on(request, second.url + request.target)
            place = reply.headers.get("location", "").replace(second.url, elsewhere.url)
            assert isinstance(reply.body, bytes)
            return Reply(reply.body, reply.status, {**reply.headers, "location": place})

        with RegistryProxy(second.url, gate=gate) as proxy, editor_of(proxy.url) as editor:
            editor.put_blob("app", digest_of(b"x"), 1, lambda: iter([b"x"]))
            assert editor.has_blob("app", digest_of(b"x"))
        assert elsewhere.requests == []
    place = Reply(b"", 202, {"Location": "/v2/other/blobs/uploads/1"})
    with (
        FakeServer({"/v2/app/blobs/uploads/": place}) as fake,
        editor_of(fake.url, pace=pace_of(Clock())) as editor,
        pytest.raises(ApiUnavailableError, match="no place for an upload to app"),
    ):
        editor.put_blob("app", NOWHERE, 1, lambda: iter([b"x"]))


def test_without_the_header_of_the_digest_the_content_is_hashed() -> None:
    bare = Reply(b"{}", 200, {"Content-Type": f"{DOCKER_MANIFEST}; charset=utf-8"})
    with FakeServer({"/v2/app/manifests/1": bare}) as fake, editor_of(fake.url) as editor:
        served = editor.manifest("app", "1")
        assert editor.manifest_digest("app", "1") == digest_of(b"{}")
    assert served is not None
    assert (served.digest, served.media_type) == (digest_of(b"{}"), DOCKER_MANIFEST)


def test_content_with_another_digest_is_not_taken() -> None:
    wrong = Reply(b"{}", 200, {"Content-Type": DOCKER_MANIFEST})
    with (
        FakeServer({f"/v2/app/manifests/{NOWHERE}": wrong}) as fake,
        editor_of(fake.url) as editor,
        pytest.raises(ApiUnavailableError, match="served content with the digest sha256:44136fa3"),
    ):
        editor.manifest("app", NOWHERE)


def test_the_registry_to_change_must_be_configured() -> None:
    with (
        pytest.raises(ConfigurationError, match=r"registry\.url"),
        registry_editor(Settings(), 50, lambda: False),
    ):
        pass


def test_the_login_for_changes_comes_from_the_settings(
    registry: DockerRegistry, tmp_path: Path
) -> None:
    (tmp_path / "password").write_text(f"{PASSWORD}\n")
    settings = Settings.model_validate(
        {
            "registry": {
                "url": registry.url,
                "username": USERNAME,
                "password_file": tmp_path / "password",
            }
        }
    )
    with registry_editor(settings, 50, lambda: False) as editor:
        assert not editor.delete_manifest("app", NOWHERE)


@pytest.mark.parametrize(
    ("header", "seconds"),
    [
        ("", 0),
        ("12", 12),
        ("-3", 0),
        ("soon", 0),
        ("99999999999999999999", 300),
        ("Sun, 06 Nov 1994 08:49:37 GMT", 7),
        ("Sun, 06 Nov 1994 08:49:07 GMT", 0),
        ("Sun, 06 Nov 9994 08:49:37 GMT", 300),
    ],
)
def test_a_registry_may_say_when_to_ask_again(header: str, seconds: float) -> None:
    assert wished_pause({"retry-after": header}, now=784111770.0) == seconds


def test_pauses_grow_and_are_spread_by_chance() -> None:
    assert [pause_before(number, 1.0) for number in range(1, 8)] == [0.5, 1, 2, 4, 8, 15, 15]
    assert pause_before(3, 0.0) == 1.0


def test_the_secret_of_a_session_is_in_no_repr(registry: DockerRegistry) -> None:
    endpoint = endpoint_of(registry.url)
    with open_editor(endpoint, None, ignore, Pace(None)) as editor:
        editor.has_blob("app", NOWHERE)
        assert PASSWORD not in json.dumps([repr(editor), repr(vars(editor)), repr(endpoint)])


@pytest.mark.parametrize("media_type", ["x/y\r\nX-Evil: 1", "x/y\n", " x/y", "x/\u00fc"])
def test_a_media_type_that_cannot_be_sent_is_the_contents_fault(media_type: str) -> None:
    sent: list[Request] = []

    def gate(request: Request) -> Reply:
        sent.append(request)
        return Reply(b"", 201)

    with RegistryProxy("http://localhost:1", gate=gate) as proxy, editor_of(proxy.url) as editor:
        with pytest.raises(ContentRefusedError, match="push the image again"):
            editor.put_manifest("app", "1", b"{}", media_type)
        editor.put_manifest("app", "1", b"{}", "x/y; charset=utf-8")
    assert [each.headers["Content-Type"] for each in sent] == ["x/y; charset=utf-8"]


def test_what_a_registry_says_is_cut_short() -> None:
    body = encode({"errors": [{"code": "C" * 5000, "message": "\n" * 5000}] * 9})
    with (
        RegistryProxy("http://localhost:1", gate=lambda _: Reply(body, 400)) as proxy,
        editor_of(proxy.url) as editor,
        pytest.raises(ContentRefusedError) as refused,
    ):
        editor.put_manifest("app", "1", b"{}", DOCKER_MANIFEST)
    assert len(str(refused.value)) < 2000
    assert len(refused.value.code) < 100
