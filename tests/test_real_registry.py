"""The exporter compared with a real registry: its store, its collector and its HTTP API."""

import base64
import shutil
import threading
import time
from collections.abc import Callable, Iterable
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from pathlib import Path

import httpx
import pytest

from demo.store import StoreBuilder, noise
from exporter.analysis.store_figures import analyse
from exporter.domain.snapshot import Integrity
from exporter.store.filesystem.scanner import scan_store
from tests.conftest import PASSWORD, USERNAME
from tests.exporter_process import Exporter, Metrics, collect
from tests.servers import (
    OCI_CONFIG,
    OCI_LAYER,
    OCI_MANIFEST,
    DockerRegistry,
    RegistryClient,
    descriptor,
    digest_of,
    image_config,
    image_manifest,
)

INTERVAL = ("--scan.interval", "200ms")
PASSWORD_VARIABLE = "REGISTRY_EXPORTER_REGISTRY_PASSWORD"
CLOCK_SECONDS = 1.0
"""The kernel dates files by a clock that is a few milliseconds behind."""

BASE = noise("base layer", 50_000)
UPLOAD = noise("unfinished upload", 7_777)

WEB, WORKER = "shop/web", "shop/worker"
MIRROR, GONE, PUSHING = "team/mirror", "team/gone", "team/pushing"
TOOLS, NESTED = "tools", "tools/backup"
REPOSITORIES = (WEB, WORKER, GONE, MIRROR, PUSHING, TOOLS, NESTED)


@dataclass(frozen=True, slots=True)
class Image:
    """A pushed image: the digest of its manifest, and those of all its parts."""

    digest: str
    blobs: frozenset[str]


@dataclass(slots=True)
class Pushed:
    """A store that a registry wrote, and the content that was pushed to it.

    Attributes:
        root: the registry's root directory.
        since: start of pushing, Unix seconds.
        until: end of pushing, Unix seconds.
        tagged: digests of the blobs that tags need.
        untagged: digests of the blobs that only untagged manifests need.
        unreferenced: digests of all other blobs.

    """

    root: Path
    since: float
    until: float = 0.0
    tagged: frozenset[str] = frozenset()
    untagged: frozenset[str] = frozenset()
    unreferenced: frozenset[str] = frozenset()


def push(
    client: RegistryClient, repository: str, tag: str | None, *own: str, oci: bool = False
) -> Image:
    """Push an image of the base layer and one layer of its own for each name."""
    layers = [BASE, *(noise(name, 3_000 + 100 * len(name)) for name in own)]
    digest = client.push_image(repository, tag, layers, oci=oci)
    return Image(digest, frozenset({digest, digest_of(image_config(layers)), *digests_of(layers)}))


def push_mounted(client: RegistryClient, repository: str, tag: str, source: str) -> Image:
    """Push an OCI image whose base layer is mounted from another repository, not uploaded."""
    client.mount_blob(repository, digest_of(BASE), source)
    layers = [BASE, noise(f"{repository} {tag}", 4_321)]
    config = image_config(layers)
    client.push_blob(repository, layers[1])
    client.push_blob(repository, config)
    manifest = image_manifest(layers, config, oci=True)
    digest = client.push_manifest(repository, tag, manifest, OCI_MANIFEST)
    return Image(digest, frozenset({digest, digest_of(config), *digests_of(layers)}))


def push_index(
    client: RegistryClient, repository: str, tag: str, *images: Image, oci: bool = False
) -> Image:
    digest = client.push_index(repository, tag, [image.digest for image in images], oci=oci)
    return Image(digest, frozenset({digest}.union(*(image.blobs for image in images))))


def digests_of(contents: Iterable[bytes]) -> list[str]:
    return [digest_of(content) for content in contents]


def push_everything(client: RegistryClient, pushed: Pushed) -> None:
    """Push every kind of content that a registry in daily use stores."""
    web = push(client, WEB, "1.0", "web 1.0")
    retagged = [push(client, WEB, "latest", f"web {build}") for build in range(3)]
    worker = push_mounted(client, WORKER, "1.0", WEB)
    mirrored = push(client, MIRROR, "1.0", "web 1.0")
    mirror = push(client, MIRROR, "own", "mirror", oci=True)

    platforms = [push(client, TOOLS, None, f"tools {name}") for name in ("amd64", "arm64")]
    tools = push_index(client, TOOLS, "1.0", *platforms)
    nested = [push(client, NESTED, None, f"backup {name}", oci=True) for name in ("a", "b", "c")]
    old_index = push_index(client, NESTED, "latest", nested[0], nested[1], oci=True)
    new_index = push_index(client, NESTED, "latest", nested[1], nested[2], oci=True)

    gone = push(client, GONE, "1.0", "gone")
    client.delete_manifest(GONE, gone.digest)
    never_used = client.push_blob(PUSHING, noise("layer without a manifest", 2_222))
    client.start_upload(PUSHING, UPLOAD)

    live = (web, retagged[-1], worker, mirrored, mirror, tools, new_index)
    pushed.tagged = frozenset[str]().union(*(image.blobs for image in live))
    replaced = (*retagged[:-1], old_index)
    pushed.untagged = frozenset[str]().union(*(image.blobs for image in replaced)) - pushed.tagged
    pushed.unreferenced = (gone.blobs | {never_used}) - pushed.tagged - pushed.untagged


@pytest.fixture(scope="module")
def pushed(tmp_path_factory: pytest.TempPathFactory) -> Pushed:
    """Return a store that a registry wrote; copy it before changing it."""
    made = Pushed(tmp_path_factory.mktemp("pushed") / "registry", since=time.time())
    with DockerRegistry(made.root) as registry, RegistryClient(registry.url) as client:
        push_everything(client, made)
    made.until = time.time()
    return made


@pytest.fixture(scope="module")
def metrics(pushed: Pushed) -> Metrics:
    """Return the metrics of that store."""
    return collect(pushed.root)


@pytest.fixture
def copied(pushed: Pushed, tmp_path: Path) -> Path:
    return shutil.copytree(pushed.root, tmp_path / "copy")


def blob_sizes(root: Path) -> dict[str, int]:
    return {
        f"{path.parts[-4]}:{path.parent.name}": path.stat().st_size
        for path in StoreBuilder(root).version_path.glob("blobs/**/data")
    }


def blob_bytes(root: Path) -> int:
    return sum(blob_sizes(root).values())


def revisions(root: Path, repository: str) -> list[str]:
    links = StoreBuilder(root).repository_path(repository).glob("_manifests/revisions/*/*/link")
    return [link.read_text() for link in links]


def sizes_in(metrics: Metrics) -> Metrics:
    """Return the metrics of blobs and of each repository on disk."""
    of_disk = ("docker_registry_blob", "docker_registry_repository_")
    return Metrics({key: value for key, value in metrics.items() if key[0].startswith(of_disk)})


def watch(registry: DockerRegistry, root: Path | None = None, password: str = PASSWORD) -> Exporter:
    """Return an exporter for a registry that requires a login."""
    return Exporter(
        *("--storage.root", root or registry.root),
        *("--registry.url", registry.url),
        *("--registry.username", USERNAME),
        *INTERVAL,
        environment={PASSWORD_VARIABLE: password},
    )


def differences_are(count: int) -> Callable[[Metrics], bool]:
    return lambda metrics: metrics.value("docker_registry_api_tag_differences") == count


def api_is_up(metrics: Metrics) -> bool:
    return metrics.value("docker_registry_api_up") == 1


def api_is_down(metrics: Metrics) -> bool:
    return metrics.value("docker_registry_api_up") == 0


# The store on disk


def test_blob_bytes_add_up_to_the_sizes_of_all_data_files(pushed: Pushed, metrics: Metrics) -> None:
    assert metrics.total("docker_registry_blob_bytes") == blob_bytes(pushed.root)
    assert metrics.total("docker_registry_blobs") == len(blob_sizes(pushed.root))


@pytest.mark.parametrize("state", ["tagged", "untagged", "unreferenced"])
def test_each_blob_counts_in_the_strongest_state_of_its_references(
    pushed: Pushed, metrics: Metrics, state: str
) -> None:
    digests = getattr(pushed, state)
    sizes = blob_sizes(pushed.root)
    assert digests
    assert metrics.value("docker_registry_blobs", state=state) == len(digests)
    assert metrics.value("docker_registry_blob_bytes", state=state) == sum(
        sizes[digest] for digest in digests
    )


def test_repositories_nested_in_others_and_empty_ones_are_counted(metrics: Metrics) -> None:
    tags = {WEB: 2, WORKER: 1, MIRROR: 2, TOOLS: 1, NESTED: 1, GONE: 0, PUSHING: 0}
    assert metrics.by("repository", "docker_registry_repository_tags") == tags
    assert metrics.value("docker_registry_repositories") == len(REPOSITORIES)
    assert metrics.value("docker_registry_empty_repositories") == 2
    assert metrics.value("docker_registry_tags") == 7


def test_untagged_manifests_do_not_include_children_of_a_tagged_index(metrics: Metrics) -> None:
    manifests = {WEB: 4, WORKER: 1, MIRROR: 2, TOOLS: 3, NESTED: 5, GONE: 0, PUSHING: 0}
    untagged = dict.fromkeys(REPOSITORIES, 0) | {WEB: 2, NESTED: 2}
    assert metrics.by("repository", "docker_registry_repository_manifests") == manifests
    assert metrics.by("repository", "docker_registry_repository_untagged_manifests") == untagged
    assert metrics.by("state", "docker_registry_manifests") == {"tagged": 11, "untagged": 4}


def test_an_unfinished_upload_counts_with_its_bytes_and_its_start(
    pushed: Pushed, metrics: Metrics
) -> None:
    started = metrics.value("docker_registry_upload_oldest_start_timestamp_seconds")
    assert metrics.value("docker_registry_uploads") == 1
    assert metrics.value("docker_registry_upload_bytes") == len(UPLOAD)
    assert metrics.value("docker_registry_unpurgeable_uploads") == 0
    assert started is not None
    assert pushed.since - CLOCK_SECONDS <= started <= pushed.until + CLOCK_SECONDS


def test_the_last_push_is_when_the_registry_wrote_the_newest_link(
    pushed: Pushed, metrics: Metrics
) -> None:
    pushes = metrics.by("repository", "docker_registry_repository_last_push_timestamp_seconds")
    assert pushes.keys() == {WEB, WORKER, MIRROR, TOOLS, NESTED}
    assert min(pushes.values()) >= pushed.since - CLOCK_SECONDS
    assert max(pushes.values()) <= pushed.until + CLOCK_SECONDS
    assert pushes[WEB] < pushes[WORKER] < pushes[MIRROR] < pushes[TOOLS] < pushes[NESTED]


def test_a_store_written_by_a_registry_has_no_issue_and_no_stray_file(metrics: Metrics) -> None:
    assert metrics.value("docker_registry_scan_complete") == 1
    assert metrics.total("docker_registry_scan_issues") == 0
    assert metrics.value("docker_registry_stray_files") == 0


def test_logical_bytes_count_each_tag_as_if_it_were_alone(
    registry: DockerRegistry, registry_client: RegistryClient
) -> None:
    image = push(registry_client, WEB, "1", "web")
    push(registry_client, WEB, "same", "web")
    push(registry_client, WORKER, "1", "web")
    sizes = blob_sizes(registry.root)
    alone = sum(sizes[digest] for digest in image.blobs)
    metrics = collect(registry.root)
    assert metrics.value("docker_registry_logical_bytes") == 3 * alone
    assert metrics.value("docker_registry_shared_blob_bytes") == alone
    assert metrics.total("docker_registry_blob_bytes") == alone


# Garbage collection by the registry


def test_a_collector_run_frees_exactly_the_unreferenced_bytes(
    copied: Path, metrics: Metrics
) -> None:
    before = blob_bytes(copied)
    with DockerRegistry(copied) as registry:
        registry.garbage_collect()
    freed = before - blob_bytes(copied)
    after = collect(copied)
    assert freed == metrics.value("docker_registry_blob_bytes", state="unreferenced")
    assert after.value("docker_registry_blob_bytes", state="unreferenced") == 0
    for state in ("tagged", "untagged"):
        kept = metrics.value("docker_registry_blob_bytes", state=state)
        assert after.value("docker_registry_blob_bytes", state=state) == kept


@pytest.mark.parametrize("repository", REPOSITORIES)
def test_exclusive_bytes_are_freed_by_deleting_the_repository_and_a_collector_run(
    copied: Path, metrics: Metrics, repository: str
) -> None:
    before = blob_bytes(copied)
    with DockerRegistry(copied) as registry, RegistryClient(registry.url) as client:
        for digest in revisions(copied, repository):
            client.delete_manifest(repository, digest)
        registry.garbage_collect()
    freed = before - blob_bytes(copied)
    unreferenced = metrics.value("docker_registry_blob_bytes", state="unreferenced")
    exclusive = metrics.value("docker_registry_repository_exclusive_bytes", repository=repository)
    assert unreferenced is not None
    assert exclusive == freed - unreferenced


def test_exclusive_shared_and_unreferenced_bytes_add_up_to_the_total(metrics: Metrics) -> None:
    exclusive = metrics.by("repository", "docker_registry_repository_exclusive_bytes")
    shared = metrics.value("docker_registry_shared_blob_bytes")
    unreferenced = metrics.value("docker_registry_blob_bytes", state="unreferenced")
    assert exclusive.keys() == set(REPOSITORIES)
    assert shared is not None
    assert unreferenced is not None
    parts = sum(exclusive.values()) + shared + unreferenced
    assert parts == metrics.total("docker_registry_blob_bytes")


def test_a_running_exporter_notices_a_manifest_deleted_through_the_api(
    registry: DockerRegistry, registry_client: RegistryClient
) -> None:
    kept = push(registry_client, WEB, "1", "web 1")
    doomed = push(registry_client, WEB, "2", "web 2")
    freed = sum(blob_sizes(registry.root)[digest] for digest in doomed.blobs - kept.blobs)
    with watch(registry) as exporter:
        before = exporter.wait_for(differences_are(0))
        registry_client.delete_manifest(WEB, doomed.digest)
        after = exporter.wait_for(
            lambda metrics: (
                metrics.value("docker_registry_repository_manifests", repository=WEB) == 1
                and metrics.value("docker_registry_api_tags") == 1
            )
        )
    link = StoreBuilder(registry.root).revision_link(WEB, doomed.digest)
    assert link.parent.is_dir()
    assert not link.exists()
    assert before.value("docker_registry_blob_bytes", state="unreferenced") == 0
    assert after.value("docker_registry_blob_bytes", state="unreferenced") == freed
    assert after.value("docker_registry_repository_tags", repository=WEB) == 1
    assert after.total("docker_registry_scan_issues") == 0
    for page in (before, after):
        assert page.total("docker_registry_blob_bytes") == blob_bytes(registry.root)


# The HTTP API


def test_api_figures_match_the_tags_that_the_registry_lists(
    registry: DockerRegistry, registry_client: RegistryClient
) -> None:
    layers = [BASE]
    registry_client.push_image(WEB, "0", layers)
    manifest, media_type = registry_client.manifest(WEB, "0")
    for tag in range(1, 120):
        registry_client.push_manifest(WEB, str(tag), manifest, media_type)
    push(registry_client, TOOLS, "1.0", "tools")
    push(registry_client, NESTED, "latest", "backup", oci=True)
    registry_client.push_blob(PUSHING, BASE)
    listed = {name: len(registry_client.tags(name)) for name in (WEB, TOOLS, NESTED, PUSHING)}
    with watch(registry) as exporter:
        metrics = exporter.wait_for(differences_are(0))
    assert listed == {WEB: 120, TOOLS: 1, NESTED: 1, PUSHING: 0}
    assert metrics.by("repository", "docker_registry_api_repository_tags") == listed
    assert metrics.by("repository", "docker_registry_repository_tags") == listed
    assert metrics.value("docker_registry_api_tags") == 122
    assert metrics.value("docker_registry_api_repositories") == 4


def test_repositories_of_several_catalog_pages_are_all_counted(
    registry: DockerRegistry, registry_client: RegistryClient
) -> None:
    layer = noise("layer of all", 100)
    config = image_config([layer])
    manifest = {
        "schemaVersion": 2,
        "mediaType": OCI_MANIFEST,
        "config": descriptor(config, OCI_CONFIG),
        "layers": [descriptor(layer, OCI_LAYER)],
    }
    names = [f"app/number-{number:03}" for number in range(130)]
    for content in (layer, config):
        registry_client.push_blob(names[0], content)
    for name in names:
        if name != names[0]:
            for content in (layer, config):
                registry_client.mount_blob(name, digest_of(content), names[0])
        registry_client.push_manifest(name, "1", manifest, OCI_MANIFEST)
    answer = httpx.get(
        f"{registry.url}/v2/_catalog", auth=(USERNAME, PASSWORD), trust_env=False
    ).raise_for_status()
    with watch(registry) as exporter:
        metrics = exporter.wait_for(api_is_up)
    assert len(answer.json()["repositories"]) < len(names)
    assert 'rel="next"' in answer.headers["link"]
    once = dict.fromkeys(names, 1.0)
    assert metrics.by("repository", "docker_registry_repository_tags") == once
    assert metrics.by("repository", "docker_registry_api_repository_tags") == once
    assert metrics.value("docker_registry_repositories") == 130
    assert metrics.value("docker_registry_api_repositories") == 130
    assert metrics.value("docker_registry_api_tag_differences") == 0
    assert metrics.value("docker_registry_repositories_omitted") == 0


def test_stopping_the_registry_removes_the_api_figures_and_keeps_those_of_the_disk(
    registry: DockerRegistry, registry_client: RegistryClient
) -> None:
    push(registry_client, WEB, "1", "web 1")
    push(registry_client, WEB, "2", "web 2")
    with watch(registry) as exporter:
        before = exporter.wait_for(differences_are(0))
        registry.stop()
        down = exporter.wait_for(api_is_down, "the API stays up")
        assert exporter.get("/-/ready").status_code == httpx.codes.OK
        registry.start()
        again = exporter.wait_for(differences_are(0), "the API stays down")
    assert sizes_in(down) == sizes_in(before)
    for name in ("repositories", "tags", "repository_tags", "tag_differences"):
        assert any(key[0] == f"docker_registry_api_{name}" for key in before)
        assert not any(key[0] == f"docker_registry_api_{name}" for key in down)
    assert down.value("docker_registry_scan_success") == 1
    assert again.value("docker_registry_api_up") == 1
    assert again.by("repository", "docker_registry_api_repository_tags") == {WEB: 2}


@pytest.mark.parametrize("password", [PASSWORD, "not-the-pass:word%21"])
def test_no_page_and_no_log_line_contains_the_password(
    registry: DockerRegistry, registry_client: RegistryClient, password: str
) -> None:
    push(registry_client, WEB, "1", "web")
    is_right = password == PASSWORD
    with watch(registry, password=password) as exporter:
        metrics = exporter.wait_for(api_is_up if is_right else api_is_down)
        if is_right:
            registry.stop()
            exporter.wait_for(api_is_down)
        pages = [exporter.get(path).text for path in ("/", "/metrics", "/-/ready", "/-/healthy")]
        log = exporter.log
    credentials = base64.b64encode(f"{USERNAME}:{password}".encode()).decode()
    for text in (*pages, log):
        assert password not in text
        assert credentials not in text
    assert "asking the registry's API failed" in log
    assert ("answered 401" in log) is not is_right
    assert metrics.value("docker_registry_repositories") == 1
    if not is_right:
        assert metrics.by("repository", "docker_registry_api_repository_tags") == {}


def test_a_changed_password_file_is_read_again(
    registry: DockerRegistry, registry_client: RegistryClient, tmp_path: Path
) -> None:
    push(registry_client, WEB, "1", "web")
    file = tmp_path / "password"
    file.write_text("of last year\n")
    with Exporter(
        *("--storage.root", registry.root, "--registry.url", registry.url),
        *("--registry.username", USERNAME, "--registry.password-file", file),
        *INTERVAL,
    ) as exporter:
        exporter.wait_for(api_is_down)
        file.write_text(f"{PASSWORD}\n")
        exporter.wait_for(api_is_up, "the new password is not used")


def test_figures_of_deleted_tags_and_repositories_disappear(
    registry: DockerRegistry, registry_client: RegistryClient
) -> None:
    push(registry_client, WEB, "1", "web")
    doomed = push(registry_client, WORKER, "1", "worker")
    with watch(registry) as exporter:
        exporter.wait_for(differences_are(0))
        registry_client.delete_manifest(WORKER, doomed.digest)
        emptied = exporter.wait_for(
            lambda metrics: metrics.value("docker_registry_api_tags") == 1, "the tag stays"
        )
        shutil.rmtree(StoreBuilder(registry.root).repository_path(WORKER))
        exporter.wait_for(
            lambda metrics: (
                metrics.value("docker_registry_api_repositories") == 1
                and metrics.value("docker_registry_repositories") == 1
            ),
            "the repository stays",
        )
        page = exporter.get("/metrics").text
    assert emptied.value("docker_registry_api_repository_tags", repository=WORKER) == 0
    assert f'repository="{WEB}"' in page
    assert WORKER not in page


def test_tags_only_on_disk_or_only_in_the_api_are_differences(
    registry: DockerRegistry, registry_client: RegistryClient, tmp_path: Path
) -> None:
    image = push(registry_client, WEB, "1", "web")
    push(registry_client, WORKER, "1", "worker")
    store = StoreBuilder(shutil.copytree(registry.root, tmp_path / "other"))
    with watch(registry, store.root) as exporter:
        exporter.wait_for(differences_are(0))
        store.tag(WEB, "only-on-disk", image.digest)
        exporter.wait_for(differences_are(1), "the tag that only the disk has does not count")
        store.delete_tag(WORKER, "1")
        exporter.wait_for(differences_are(2), "the tag that only the API has does not count")
        shutil.rmtree(store.repository_path(WORKER))
        store.delete_tag(WEB, "only-on-disk")
        exporter.wait_for(differences_are(1), "a repository that only the API has hides its tags")
        registry_client.push_manifest(WEB, "2", *registry_client.manifest(WEB, "1"))
        exporter.wait_for(differences_are(2), "a tag pushed to the registry does not count")


def test_tags_pushed_and_deleted_during_a_scan_are_never_broken(tmp_path: Path) -> None:
    registry = DockerRegistry(tmp_path)
    enough, rounds = threading.Event(), [0]

    def change() -> None:
        with RegistryClient(registry.url) as client:
            while not enough.is_set():
                digests = [client.push_image("app", str(tag), [noise(str(tag), 99)])
                           for tag in range(3)]  # fmt: skip
                for digest in digests:
                    client.delete_manifest("app", digest)
                rounds[0] += 1

    with registry, ThreadPoolExecutor(1) as pool:
        changes = pool.submit(change)
        states: list[Integrity | None] = []
        while not changes.done() and (len(states) < 25 or rounds[0] < 5):
            states.append(analyse(scan_store(tmp_path)).integrity)
        enough.set()
        changes.result()
    wrong = [each for each in states if each is None or each.broken_tags or each.partial_tags]
    assert wrong == []
