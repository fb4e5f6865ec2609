"""The store is unmounted, replaced or made unreadable while the exporter serves it.

Everything is real: mounts, if this user may make them, another user, and a filesystem whose
server dies.
"""

import subprocess
import sys
import tempfile
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import NamedTuple

import pytest

from demo.child_process import wait_until
from demo.store import StoreBuilder, noise
from exporter.store.filesystem.scanner import scan_store
from tests.exporter_process import Exporter, Metrics
from tests.faults import (
    COMPLETE,
    GOES_ON_WITHIN_SECONDS,
    LAST_SUCCESS,
    OFTEN,
    SUCCESS,
    Scrapes,
    assert_answers,
    build_store,
    lines,
    of_the_store,
    scanned_again,
    seconds_until,
    succeeds,
)
from tests.mirror_filesystem import MirrorFilesystem
from tests.mounts import Mounts, is_mounted, unprivileged
from tests.reliability import Record
from tests.watched_store import watched

pytestmark = pytest.mark.reliability("faults")

FAILURES = "docker_registry_scan_failures_total"
BLOBS = "docker_registry_blobs"
BLOBS_IN_STORE = 1 + 6 * 3
"""One layer that all images share; per image a layer, the configuration and the manifest."""
FAILED = "reading the store failed: "
CANNOT_READ = "cannot read a part of the store"
WORKS_AGAIN = "reading the store works again"


def fails(metrics: Metrics) -> bool:
    return metrics.value(SUCCESS) == 0


def is_partial(metrics: Metrics) -> bool:
    return metrics.value(COMPLETE) == 0


def failed_again(metrics: Metrics) -> Callable[[Metrics], bool]:
    """Return a predicate: two more scans have failed since these metrics."""
    failures = metrics.total(FAILURES)
    return lambda page: page.total(FAILURES) >= failures + 2


# Unmounted and mounted again


def put_on_a_filesystem(mounts: Mounts, place: Path) -> None:
    """Mount a new filesystem that holds the store."""
    disk = Path(tempfile.mkdtemp(dir=place.parent))
    mounts.tmpfs(disk)
    build_store(disk)
    mounts.bind(disk, place)  # the complete store at once
    mounts.unmount(disk)


def bind_directory(mounts: Mounts, place: Path) -> None:
    """Bind-mount a directory that holds the store."""
    disk = place.with_name("disk")
    if not disk.exists():
        build_store(disk)
    mounts.bind(disk, place)


@pytest.mark.parametrize("mount", [put_on_a_filesystem, bind_directory])
def test_an_unmounted_store_keeps_its_figures_until_it_is_mounted_again(
    mount: Callable[[Mounts, Path], None],
    mounts: Mounts,
    tmp_path: Path,
    record: Record,
    *,
    at_length: bool,
) -> None:
    place = tmp_path / "registry"
    place.mkdir()
    mount(mounts, place)
    is_usual = at_length and mount is put_on_a_filesystem  # a bind mount's end raises no event
    interval, patience = ("5m", 90.0) if is_usual else ("100ms", GOES_ON_WITHIN_SECONDS)
    flags = ("--storage.root", place, "--scan.interval", interval)
    with Exporter(*flags) as exporter, Scrapes(exporter) as scrapes:
        before = exporter.wait_for(lambda page: page.value("docker_registry_watch_active") == 1)
        mounts.unmount(place)
        failed = exporter.wait_for(fails, "the unmounted store is not noticed")
        later = exporter.wait_for(failed_again(failed), seconds=patience)
        mount(mounts, place)
        seconds = seconds_until(exporter, succeeds, "scans do not continue", patience)
        after = exporter.wait_for(
            lambda page: (
                page.value("docker_registry_watch_active") == 1
                and page.total("docker_registry_watched_directories")
                == before.total("docker_registry_watched_directories")
            ),
            "not every directory is watched again",
        )
        wait_until(lambda: WORKS_AGAIN in exporter.log, "the recovery is not logged")
        log = exporter.log
    assert_answers(scrapes)
    assert of_the_store(before)
    assert of_the_store(failed) == of_the_store(later) == of_the_store(before)
    assert of_the_store(after) == of_the_store(before)
    assert later.value(LAST_SUCCESS) == failed.value(LAST_SUCCESS)
    (line,) = lines(log, FAILED)
    assert "level=error" in line
    assert f"{place} held a store and holds none now: is it unmounted?" in line
    assert len(lines(log, WORKS_AGAIN)) == 1
    assert "Traceback" not in log
    kind = "a filesystem" if mount is put_on_a_filesystem else "a bind mount"
    record(
        f"A store on {kind} is unmounted and mounted again: the last good figures stay, one line "
        "in the log says so, and it goes on by itself",
        f"{seconds:.2f} s after the mount, with --scan.interval {interval}",
    )


def test_a_store_remounted_read_only_is_scanned_as_before(
    mounts: Mounts, tmp_path: Path, record: Record
) -> None:
    place = tmp_path / "registry"
    place.mkdir()
    put_on_a_filesystem(mounts, place)
    seconds = []
    with Exporter("--storage.root", place, *OFTEN) as exporter, Scrapes(exporter) as scrapes:
        before = exporter.metrics()
        for option, is_readonly in (("ro", 1), ("rw", 0)):
            mounts.remount(place, option)
            seconds.append(
                seconds_until(exporter, reads_only(is_readonly), f"{option} is not shown")
            )
            exporter.wait_for(scanned_again(exporter.metrics()))
        after, log = exporter.metrics(), exporter.log
    assert_answers(scrapes)
    assert of_the_store(after) == of_the_store(before)
    assert after.total(FAILURES) == 0
    assert lines(log, "level=error") == []
    record(
        "A store that is remounted read-only and writable again is reported so, and scanned "
        "as before",
        f"after {max(seconds):.2f} s",
    )


def reads_only(is_readonly: int) -> Callable[[Metrics], bool]:
    name = "docker_registry_filesystem_readonly"
    return lambda page: page.value(name) == is_readonly


def test_a_mount_whose_server_died_is_read_again_once_it_is_mounted_again(
    mounts: Mounts, tmp_path: Path, record: Record
) -> None:
    source, place = tmp_path / "disk", tmp_path / "registry"
    cannot_open = f"cannot open {place}: "
    build_store(source)
    place.mkdir()
    with (
        MirrorFilesystem(source, place, mounts) as mirror,
        Exporter("--storage.root", place, *OFTEN) as exporter,
        Scrapes(exporter) as scrapes,
    ):
        before = exporter.metrics()
        mirror.die()
        exporter.wait_for(fails, "the dead mount is not noticed")
        # the scan that was running may have failed elsewhere
        wait_until(lambda: cannot_open in exporter.log, "the mount itself is not logged")
        later = exporter.wait_for(failed_again(exporter.metrics()))
        mounts.unmount(place, lazily=True)
        mirror.start()
        seconds = seconds_until(exporter, succeeds, "scans do not continue")
        after, log = exporter.metrics(), exporter.log
    assert_answers(scrapes)
    assert of_the_store(before) == of_the_store(later) == of_the_store(after)
    logged = lines(log, FAILED, cannot_open)
    fix = "its disk or its mount has failed; repair it, unmount it and mount it again"
    assert all(fix in line for line in logged)
    assert len(logged) <= 2  # the request that was pending, and one after it
    assert "Traceback" not in log
    record(
        "A mount whose server dies fails at once, and is read again once it is mounted again",
        f"{seconds:.2f} s after the mount",
    )


# Replaced


def by_rename(mounts: Mounts, place: Path, other: Path) -> None:
    """Swap both by renames."""
    del mounts
    place.rename(place.with_name("away"))
    other.rename(place)
    place.with_name("away").rename(other)


def by_link(mounts: Mounts, place: Path, other: Path) -> None:
    """Swap the targets of the links ``place`` and ``other``."""
    del mounts
    target = place.readlink()
    new = place.with_name("new")
    new.symlink_to(other.resolve())
    new.rename(place)
    other.unlink()
    other.symlink_to(target)


def by_mount(mounts: Mounts, place: Path, other: Path) -> None:
    """Mount ``other`` over ``place``, or unmount it."""
    if is_mounted(place):
        mounts.unmount(place, lazily=True)
    else:
        mounts.bind(other, place)


REPLACEMENTS = [by_rename, by_link, by_mount]
Replace = Callable[[Mounts, Path, Path], None]


@pytest.fixture
def two_stores(tmp_path: Path) -> tuple[Path, Path]:
    """Return symbolic links to a store and to a larger one."""
    places = tmp_path / "registry", tmp_path / "other"
    for place, apps in zip(places, (3, 5), strict=True):
        disk = tmp_path / f"disk-{apps}"
        build_store(disk, apps)
        place.symlink_to(disk)
    return places


def directories(places: tuple[Path, Path], replace: Replace) -> tuple[Path, Path]:
    """Return the links for ``by_link``, otherwise the directories."""
    if replace is by_link:
        return places
    return places[0].resolve(), places[1].resolve()


def name_of(replace: Replace) -> str:
    return replace.__name__.replace("_", " ")


def has_apps(apps: int) -> Callable[[Metrics], bool]:
    def holds(page: Metrics) -> bool:
        return succeeds(page) and page.value("docker_registry_repositories") == apps

    return holds


@pytest.mark.parametrize("replace", REPLACEMENTS)
def test_a_replaced_store_is_reported_with_its_new_content(
    replace: Replace, two_stores: tuple[Path, Path], mounts: Mounts, record: Record
) -> None:
    place, other = directories(two_stores, replace)
    with Exporter("--storage.root", place, *OFTEN) as exporter, Scrapes(exporter) as scrapes:
        exporter.wait_for(has_apps(3))
        before = exporter.metrics()
        seconds = []
        for apps in (5, 3):
            replace(mounts, place, other)
            seconds.append(seconds_until(exporter, has_apps(apps), "the new store is not shown"))
        after, log = exporter.metrics(), exporter.log
    assert_answers(scrapes)
    assert of_the_store(after) == of_the_store(before)
    assert len(lines(log, FAILED)) <= (2 if replace is by_rename else 0)  # between two renames
    assert "Traceback" not in log
    record(
        f"A store that is replaced by another, {name_of(replace)}, is reported as it is now, and "
        "no blob of either as garbage",
        f"after {max(seconds):.2f} s",
    )


@pytest.mark.parametrize("replace", REPLACEMENTS)
def test_a_replacement_store_is_watched_after_the_next_scan(
    replace: Replace, two_stores: tuple[Path, Path], mounts: Mounts, record: Record
) -> None:
    place, other = directories(two_stores, replace)
    seconds = []
    with watched(place) as each:
        each.follow()
        for name in ("shop/app-4", "shop/app-0"):
            replace(mounts, place, other)
            assert each.follow(scan_store(place)).everywhere
            assert each.listener.is_whole
            each.changes.wait(0.2)
            each.changes.take()
            link = StoreBuilder(place).tag_link(name, "1")
            started = time.monotonic()
            link.write_bytes(link.read_bytes())
            assert each.noticed().repositories == {name}
            seconds.append(time.monotonic() - started)
    record(
        f"The replacement of a store, {name_of(replace)}, is watched for changes",
        f"a changed tag is noticed after {max(seconds):.2f} s",
    )


def test_blobs_are_not_garbage_when_all_repositories_disappear_at_once(
    mounts: Mounts, tmp_path: Path, record: Record
) -> None:
    store = build_store(tmp_path / "registry")
    empty = tmp_path / "empty"
    empty.mkdir()
    place = store.version_path / "repositories"
    with Exporter("--storage.root", store.root, *OFTEN) as exporter, Scrapes(exporter) as scrapes:
        before = exporter.metrics()
        mounts.bind(empty, place)
        failed = exporter.wait_for(failed_again(exporter.wait_for(fails)))
        mounts.unmount(place, lazily=True)
        seconds = seconds_until(exporter, succeeds, "scans do not continue")
        log = exporter.log
    assert_answers(scrapes)
    assert of_the_store(failed) == of_the_store(before)
    assert len(lines(log, FAILED, "held a store and holds none now: is it unmounted?")) == 1
    record(
        "Blobs whose repositories are hidden by an empty mount are never called garbage",
        f"{scrapes.most_garbage:g} in {scrapes.count} answers; back after {seconds:.2f} s",
    )


# Unreadable parts


@pytest.fixture
def public_store() -> Iterator[StoreBuilder]:
    """Yield a store that other users can reach."""
    with tempfile.TemporaryDirectory() as place:
        Path(place).chmod(0o755)
        yield build_store(Path(place) / "registry")


@contextmanager
def closed(place: Path) -> Iterator[None]:
    """Remove all permissions of a place."""
    mode = place.stat().st_mode
    place.chmod(0)
    try:
        yield
    finally:
        place.chmod(mode)


class Closed(NamedTuple):
    """A place without permissions, whether that fails the whole scan, and the log's text."""

    place: Path
    whole: bool
    logged: str


def closed_places(store: StoreBuilder) -> list[Closed]:
    digest = store.image("shop/app-0", "1", [noise("base", 500), noise("0 1", 90)])
    repository = store.repository_path("shop/app-0")
    blobs = store.version_path / "blobs"
    prefix = store.blob_path(digest).parents[1]
    tag = store.tag_link("shop/app-0", "1")
    revision = store.revision_link("shop/app-0", digest)
    parts = (prefix, repository, repository / "_manifests" / "tags", tag, revision)
    return [
        Closed(store.root, True, f"cannot open {store.root}: Permission denied; "),
        Closed(store.version_path, True, f"cannot open {store.version_path}: Permission denied; "),
        Closed(blobs, True, "cannot list blobs: Permission denied"),
        Closed(blobs / "sha256", True, "cannot list blobs/sha256: Permission denied"),
        Closed(store.version_path / "repositories", True, "cannot list repositories: Permission"),
        *(Closed(each, False, f"path={each.relative_to(store.version_path)} ") for each in parts),
    ]


def test_an_unreadable_store_keeps_its_figures_until_it_is_readable_again(
    public_store: StoreBuilder, record: Record
) -> None:
    prefix = unprivileged()
    if subprocess.run([*prefix, sys.executable, "-c", ""], check=False).returncode != 0:
        pytest.skip(f"no other user may run {sys.executable}")
    slowest, places = 0.0, closed_places(public_store)
    with (
        Exporter("--storage.root", public_store.root, *OFTEN, under=prefix) as exporter,
        Scrapes(exporter) as scrapes,
    ):
        before = exporter.metrics()
        for each in places:
            known = len(exporter.log)
            with closed(each.place):
                shown = exporter.wait_for(
                    fails if each.whole else is_partial,
                    f"closing {each.place} is not noticed",
                )
                later = exporter.wait_for(scanned_again(shown))
            slowest = max(slowest, seconds_until(exporter, succeeds, f"{each.place} stays closed"))
            log = exporter.log[known:]
            assert of_the_store(later) == of_the_store(before), each.place
            issues = later.by("cause", "docker_registry_scan_issues")
            assert each.whole or issues["permission"] > 0, each.place
            # the scan that was running may have failed elsewhere
            logged = lines(log, FAILED if each.whole else CANNOT_READ, each.logged)
            assert len(logged) == 1, log
            assert f"uid {uid_of(prefix)}" in logged[0]
        after, log = exporter.metrics(), exporter.log
    assert_answers(scrapes)
    assert of_the_store(after) == of_the_store(before)
    assert "Traceback" not in log
    record(
        f"Each of {len(places)} places of a store is closed to the exporter's user and opened "
        "again: the last good figures stay, and one line each names the place and the user",
        f"it goes on within {slowest:.2f} s",
    )


@pytest.mark.parametrize("closes", [1, 4])  # a repository, and the link of a revision
def test_unreadable_parts_at_the_start_make_no_blob_garbage(
    closes: int, public_store: StoreBuilder, record: Record
) -> None:
    place = [each.place for each in closed_places(public_store) if not each.whole][closes]
    flags = ("--storage.root", public_store.root, *OFTEN)
    with closed(place), Exporter(*flags, under=unprivileged()) as exporter:
        partial = exporter.metrics()
        with Scrapes(exporter) as scrapes:
            place.chmod(0o755)
            seconds = seconds_until(exporter, succeeds, f"{place} stays closed")
        whole = exporter.metrics()
    assert_answers(scrapes)
    assert partial.value(SUCCESS) == 1
    assert partial.value(COMPLETE) == 0
    assert partial.value(BLOBS, state="unreferenced") == 0
    assert partial.by("mode", "docker_registry_gc_reclaimable_blobs") == {}  # unknown
    blobs = {"tagged": float(BLOBS_IN_STORE), "untagged": 0.0, "unreferenced": 0.0}
    assert whole.by("state", BLOBS) == blobs
    record(
        f"A part of the store that is unreadable at the start ({kind_of(place)}) makes no blob "
        "garbage; everything is reported once it may be read",
        f"{scrapes.most_garbage:g} blobs; after {seconds:.2f} s",
    )


def kind_of(place: Path) -> str:
    """Return the kind of a place, without the names that differ between runs."""
    return "a directory of blobs" if "blobs" in place.parts else place.name


def uid_of(prefix: tuple[str, ...]) -> str:
    """Return the user id that a command prefix runs as."""
    command = [*prefix, "id", "--user"]
    return subprocess.run(command, check=True, capture_output=True, text=True).stdout.strip()


def test_a_store_replaced_by_an_unreadable_directory_is_not_logged_as_a_bug(
    public_store: StoreBuilder, record: Record
) -> None:
    secret = public_store.root.with_name("other") / "secret"
    secret.mkdir(parents=True)
    with (
        Exporter("--storage.root", public_store.root, *OFTEN, under=unprivileged()) as exporter,
        Scrapes(exporter) as scrapes,
        closed(secret),
    ):
        by_rename(Mounts(), public_store.root, secret.parent)
        failed = exporter.wait_for(failed_again(exporter.wait_for(fails)))
        by_rename(Mounts(), public_store.root, secret.parent)
        seconds = seconds_until(exporter, succeeds, "scans do not continue")
        log = exporter.log
    assert_answers(scrapes)
    assert failed.value("docker_registry_repositories") == 3
    assert lines(log, FAILED, f"{public_store.root} holds secret but no docker/: give the registry")
    assert "which is a bug" not in log
    record(
        "A directory that is no store, and may not be looked into, takes the store's place: the "
        "last good figures stay",
        f"it goes on {seconds:.2f} s after the store is back",
    )
