"""``plan`` says when the registry refuses deletions, and finds out without deleting anything."""

import json
from collections.abc import Callable
from pathlib import Path

import pytest

from demo.child_process import wait_until
from demo.store import StoreBuilder
from exporter.domain.model import DeletionAnswer
from exporter.registry.deletion import NO_MANIFEST, ask_deletion
from tests.exporter_process import Exporter
from tests.fake_registry import (
    BASIC,
    FakeServer,
    Reply,
    Request,
    endpoint_of,
    routes_of,
)
from tests.in_process import Outcome, run_command
from tests.servers import (
    PASSWORD,
    USERNAME,
    DockerRegistry,
    RegistryClient,
    digest_of,
    require_registry,
)
from tests.test_plan import parsed

VERSIONS = pytest.mark.parametrize("version", [2, 3])
PROBED = f"/v2/app/manifests/{NO_MANIFEST}"
UNSUPPORTED = b'{"errors":[{"code":"UNSUPPORTED","message":"The operation is unsupported."}]}'


def plan(root: Path, url: str, *more: str | Path) -> Outcome:
    return run_command(
        "plan", "--storage.root", root, "--registry.url", url, "--match", ".*", *more
    )


def files_of(root: Path) -> dict[str, tuple[int, int]]:
    """Return each file and directory with its inode and its change time."""
    return {
        str(path.relative_to(root)): (path.lstat().st_ino, path.lstat().st_ctime_ns)
        for path in root.rglob("*")
    }


def pushed(root: Path, version: int) -> None:
    with (
        DockerRegistry(root, program=require_registry(version)) as registry,
        RegistryClient(registry.url) as client,
    ):
        client.push_image("team/app", "1", [b"layer"])


@VERSIONS
def test_a_registry_with_deletion_switched_off_gets_no_plan(tmp_path: Path, version: int) -> None:
    pushed(tmp_path / "store", version)
    with DockerRegistry(
        tmp_path / "store", delete=False, program=require_registry(version)
    ) as registry:
        outcome = plan(tmp_path / "store", registry.url)
        with RegistryClient(registry.url) as client:
            content, _ = client.manifest("team/app", "1")
            with pytest.raises(RuntimeError, match=r"answered 405.*UNSUPPORTED"):
                client.delete_manifest("team/app", digest_of(content))
    assert (outcome.exit_code, outcome.output) == (1, "")
    assert "no plan: the registry at --registry.url answers 405 UNSUPPORTED" in outcome.complaints
    assert "REGISTRY_STORAGE_DELETE_ENABLED=true" in outcome.complaints


@VERSIONS
def test_a_registry_that_allows_deletions_gets_the_plan_and_keeps_every_file(
    tmp_path: Path, version: int
) -> None:
    pushed(tmp_path / "store", version)
    with DockerRegistry(tmp_path / "store", program=require_registry(version)) as registry:
        before = files_of(tmp_path / "store")
        outcome = plan(tmp_path / "store", registry.url)
        assert files_of(tmp_path / "store") == before
        (line,) = parsed(outcome.output)
        with RegistryClient(registry.url) as client:
            client.delete_manifest(line.repository, line.digest)
            assert client.tags("team/app") == []
    assert (outcome.exit_code, outcome.complaints) == (0, "")
    assert "# warning" not in outcome.output


@VERSIONS
def test_read_only_mode_is_a_warning_as_it_ends(tmp_path: Path, version: int) -> None:
    pushed(tmp_path / "store", version)
    program = require_registry(version)
    with DockerRegistry(tmp_path / "store", read_only=True, program=program) as registry:
        outcome = plan(tmp_path / "store", registry.url)
    assert outcome.exit_code == 0
    assert "# warning: the registry at --registry.url answers 405 to deletions" in outcome.output
    assert len(list(parsed(outcome.output))) == 1


def test_the_question_is_asked_with_the_login(tmp_path: Path) -> None:
    users = {USERNAME: PASSWORD}
    pushed(tmp_path / "store", 2)
    (tmp_path / "password").write_text(PASSWORD)
    login = ("--registry.username", USERNAME, "--registry.password-file", tmp_path / "password")
    with DockerRegistry(tmp_path / "store", users=users, delete=False) as registry:
        outcome = plan(tmp_path / "store", registry.url, *login)
    assert outcome.exit_code == 1
    assert "405 UNSUPPORTED" in outcome.complaints


@VERSIONS
def test_a_pull_through_cache_gets_no_plan(tmp_path: Path, version: int) -> None:
    root, program = tmp_path / "cache", require_registry(version)
    with (
        DockerRegistry(tmp_path / "upstream") as upstream,
        RegistryClient(upstream.url) as source,
        DockerRegistry(root, cache_of=upstream.url, program=program) as cache,
        RegistryClient(cache.url) as client,
    ):
        digest = source.push_image("team/app", "1", [b"layer"])
        client.manifest("team/app", "1")
        # the cache writes down after some seconds when its images expire
        wait_until((root / "scheduler-state.json").exists, "the cache keeps no expiry")
        with pytest.raises(RuntimeError, match=r"answered 405.*UNSUPPORTED"):
            client.delete_manifest("team/app", digest)
    outcome = run_command("plan", "--storage.root", root, "--match", ".*")
    assert (outcome.exit_code, outcome.output) == (1, "")
    assert "no plan: this registry is a pull-through cache" in outcome.complaints


def test_the_report_of_a_pull_through_cache_offers_no_deletion(tmp_path: Path) -> None:
    store = StoreBuilder(tmp_path)
    for tag in ("1", "2"):
        store.image("app", tag)
    store.stray("scheduler-state.json", b"{}")
    options = ("--format", "json", "--retention.keep-last", "1")
    outcome = run_command("report", "--storage.root", tmp_path, *options)
    actions = {each["action"]: each for each in json.loads(outcome.output)["actions"]}
    policy = actions["keep-last-1"]
    assert (policy["frees_bytes"], policy["commands"]) == (0, [])
    assert policy["warnings"][0].startswith("a pull-through cache answers 405")
    assert actions["garbage-collect"]["commands"]


def answer_of(server: FakeServer, *, login: bool = True) -> DeletionAnswer:
    return ask_deletion(endpoint_of(server.url, login=login), None, "app", lambda *_: None)


@pytest.mark.parametrize(
    ("reply", "answer"),
    [
        (Reply(UNSUPPORTED, 405), DeletionAnswer.SWITCHED_OFF),
        (Reply(b"<html>405 Not Allowed</html>", 405), DeletionAnswer.NOT_ALLOWED),
        (Reply(b'{"errors":[{"code":"DENIED"}]}', 405), DeletionAnswer.NOT_ALLOWED),
        (Reply(b'{"errors":7}', 405), DeletionAnswer.NOT_ALLOWED),
        (Reply(UNSUPPORTED, 404), DeletionAnswer.UNKNOWN),
        (Reply(UNSUPPORTED, 403), DeletionAnswer.UNKNOWN),
        (Reply(status=202), DeletionAnswer.UNKNOWN),
        (Reply(status=307, headers={"Location": "/elsewhere"}), DeletionAnswer.UNKNOWN),
        (Reply(status=503), DeletionAnswer.UNKNOWN),
        (Reply(b"x" * 100_000, 405), DeletionAnswer.UNKNOWN),
    ],
)
def test_only_the_registrys_own_refusal_counts(reply: Reply, answer: DeletionAnswer) -> None:
    with FakeServer({PROBED: reply}) as server:
        assert answer_of(server) is answer
    assert [request.method for request in server.requests] == ["DELETE"]


@pytest.mark.parametrize("grants", [True, False])
def test_a_token_for_deletions_is_requested_and_without_it_nothing_is_known(grants: bool) -> None:
    # as both versions answer a token without the scope: the login is checked first
    def probed(request: Request) -> Reply:
        if grants and request.authorization == "Bearer for-deletions":
            return Reply(UNSUPPORTED, 405)
        scope = 'scope="repository:app:delete",error="insufficient_scope"'
        challenge = f'Bearer realm="{server.url}/auth",service="r",{scope}'
        return Reply(status=401, headers={"WWW-Authenticate": challenge})

    token = Reply(b'{"token": "for-deletions"}')
    with FakeServer({PROBED: probed, "/auth": token}) as server:
        expected = DeletionAnswer.SWITCHED_OFF if grants else DeletionAnswer.UNKNOWN
        assert answer_of(server) is expected
    (asked,) = server.asked("/auth")
    assert (asked.query["scope"], asked.method) == (["repository:app:delete"], "GET")
    assert asked.authorization == BASIC


def test_nothing_is_known_without_the_login_that_the_registry_wants() -> None:
    wants = Reply(status=401, headers={"WWW-Authenticate": 'Basic realm="x"'})
    with FakeServer({PROBED: wants}) as server:
        assert answer_of(server, login=False) is DeletionAnswer.UNKNOWN


def test_an_address_that_does_not_answer_as_a_registry_gets_no_deletion(tmp_path: Path) -> None:
    StoreBuilder(tmp_path).image("app", "1")
    with FakeServer({PROBED: Reply(UNSUPPORTED, 405)}) as server:
        outcome = plan(tmp_path, server.url)
    assert outcome.exit_code == 0
    assert {request.method for request in server.requests} == {"GET"}


def test_an_empty_plan_asks_nothing(tmp_path: Path) -> None:
    StoreBuilder(tmp_path).image("app", "1")
    with FakeServer({**routes_of(app=["1"]), PROBED: Reply(UNSUPPORTED, 405)}) as server:
        outcome = plan(tmp_path, server.url, "--keep-last", "1")
    assert outcome.exit_code == 0
    assert {request.method for request in server.requests} == {"GET"}


def collect(root: Path, url: str) -> None:
    options = ("--storage.root", root, "--registry.url", url)
    assert run_command("collect", *options).exit_code == 0


def report(root: Path, url: str) -> None:
    options = ("--storage.root", root, "--registry.url", url)
    assert run_command("report", "--retention.keep-last", "1", *options).exit_code == 0


def serve(root: Path, url: str) -> None:
    options = ("--storage.root", root, "--registry.url", url, "--scan.interval", "1s")
    with Exporter(*options) as exporter:
        asked = ("docker_registry_api_requests_total", {"endpoint": "tags", "code": "200"})
        wait_until(
            lambda: (exporter.metrics().value(asked[0], **asked[1]) or 0) >= 2,
            "the exporter does not ask the registry again",
        )


@pytest.mark.parametrize("command", [collect, report, serve])
def test_only_plan_asks(tmp_path: Path, command: Callable[[Path, str], None]) -> None:
    StoreBuilder(tmp_path).image("app", "1")
    with FakeServer({**routes_of(app=["1"]), PROBED: Reply(UNSUPPORTED, 405)}) as server:
        command(tmp_path, server.url)
        assert {request.method for request in server.requests} == {"GET"}
        assert plan(tmp_path, server.url).exit_code == 1
    deletions = [request.path for request in server.requests if request.method == "DELETE"]
    assert deletions == [PROBED]
