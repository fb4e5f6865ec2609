"""Refresh loops survive every failure, and each change is published as one snapshot."""

import logging
import os
import threading
from dataclasses import replace
from functools import partial
from pathlib import Path

import pytest

from demo.child_process import wait_until
from demo.store import StoreBuilder
from exporter.analysis.analyst import AnalysisOptions, Analyst
from exporter.domain.errors import StoreUnreadableError
from exporter.domain.images import AppImages, ImageName
from exporter.domain.model import ApiView, FilesystemUsage
from exporter.domain.snapshot import ApiStatus, PlatformStatus, ScanStatus, Snapshot
from exporter.domain.uses import Use
from exporter.platforms.caprover.naming import ownership_rules
from exporter.serve.loop import Job, Loop
from exporter.serve.publisher import Publisher
from exporter.store.filesystem.follow_options import FollowOptions
from exporter.store.filesystem.scanner import scan_store
from tests.followed_store import FollowedStore

USAGE = FilesystemUsage(10, 5, 4, 3, 2, readonly=False)


@pytest.mark.parametrize("error", [StoreUnreadableError("gone"), RuntimeError("a bug")])
@pytest.mark.parametrize("recording_fails", [False, True])
def test_a_loop_survives_every_failure(
    error: Exception, caplog: pytest.LogCaptureFixture, *, recording_fails: bool
) -> None:
    attempts: list[int] = []
    recorded: list[Exception] = []
    stop = threading.Event()

    class Failing(Job):
        def record_failure(self, error: Exception) -> None:
            recorded.append(error)
            if recording_fails:
                raise MemoryError("no room to record")

    def act() -> None:
        attempts.append(1)
        raise error

    loop = Loop("acting", Failing(act), 0.01, stop)
    with caplog.at_level(logging.ERROR):
        loop.start()
        wait_until(lambda: len(attempts) > 3, "the loop does not continue")
        stop.set()
        loop.join(5)
    assert not loop.is_alive()
    assert set(recorded) == {error}
    assert f"acting failed: {error}" in caplog.text or "acting failed, which is" in caplog.text
    assert ("no room to record" in caplog.text) == recording_fails
    assert len(caplog.records) == 1 + recording_fails  # although it failed four times


def test_a_loop_logs_that_it_works_again(caplog: pytest.LogCaptureFixture) -> None:
    stop = threading.Event()
    attempts: list[int] = []

    def act() -> None:
        attempts.append(1)
        if len(attempts) < 4:
            raise StoreUnreadableError("gone")

    loop = Loop("acting", Job(act), 0.01, stop)
    with caplog.at_level(logging.INFO):
        loop.start()
        wait_until(lambda: len(attempts) > 5, "the loop does not continue")
        stop.set()
        loop.join(5)
    assert [each.getMessage() for each in caplog.records] == [
        "acting failed: gone",
        "acting works again",
    ]


def test_a_loop_retries_sooner_after_a_failure() -> None:
    stop = threading.Event()
    pauses: list[float | None] = []

    class Recorded(threading.Event):
        def wait(self, timeout: float | None = None) -> bool:
            pauses.append(timeout)
            stop.set()
            return True

        def is_set(self) -> bool:
            return stop.is_set()

    def fail() -> None:
        raise StoreUnreadableError("gone")

    for action in (fail, lambda: None):
        stop.clear()
        Loop("acting", Job(action), 3600.0, Recorded()).run()
    after_failure, after_success = pauses
    assert after_failure is not None
    assert after_success is not None
    assert after_failure <= 30
    assert after_success > 3000


def test_changes_are_published_and_nothing_else() -> None:
    published: list[Snapshot] = []
    publisher, analyst = Publisher(published.append), Analyst()
    for _ in range(2):
        publisher.update(lambda last: analyst.with_filesystem(last, USAGE))
    publisher.update(lambda last: analyst.with_api(last, ApiStatus(ApiView({}))))
    failed = ScanStatus(scans=1, failures=1, succeeded=False)
    publisher.update(lambda last: replace(last, scan=failed))
    assert len(published) == 3
    assert published[-1] is publisher.snapshot
    assert publisher.snapshot.filesystem == USAGE
    assert publisher.snapshot.api is not None
    assert publisher.snapshot.scan.failures == 1


def test_a_snapshot_that_cannot_be_published_is_not_kept() -> None:
    def refuse(_: Snapshot) -> None:
        raise ValueError("cannot be rendered")

    publisher = Publisher(refuse)
    before = publisher.snapshot
    with pytest.raises(ValueError, match="rendered"):
        publisher.update(lambda last: Analyst().with_filesystem(last, USAGE))
    assert publisher.snapshot is before


def test_differences_are_unknown_without_the_disk_and_the_api() -> None:
    snapshot = Analyst().with_api(Snapshot(), ApiStatus(ApiView({"app": frozenset({"1"})})))
    assert snapshot.tag_differences is None


def images(*apps: str) -> AppImages:
    return AppImages(frozenset(apps), frozenset(), frozenset())


OPTIONS = AnalysisOptions(ownership=ownership_rules("captain"), keep_last=(1,))
SCANNED = ScanStatus(scans=1, succeeded=True)


def status(images: AppImages, failure: str | None = None) -> PlatformStatus:
    return PlatformStatus("CapRover", images, failure)


def test_uses_follow_caprovers_configuration_and_survive_its_loss(tmp_path: Path) -> None:
    StoreBuilder(tmp_path).image("captain/img-captain-blog", "1")
    published: list[Snapshot] = []
    publisher, analyst = Publisher(published.append), Analyst(OPTIONS)
    analysis = analyst.analyse(scan_store(tmp_path))
    publisher.update(lambda last: analyst.with_scan(last, analysis, SCANNED))
    assert (published[-1].uses, published[-1].policies) == (None, None)
    orphaned = []
    for platform in (
        status(images("other")),
        status(images("other"), "gone"),
        status(images("other"), "gone"),
        status(images("blog")),
    ):
        publisher.update(partial(analyst.with_platform, platform=platform))
        assert publisher.snapshot.uses is not None
        orphaned.append(len(publisher.snapshot.uses.orphaned_repositories))
    assert orphaned == [1, 1, 1, 0]
    assert len(published) == 4
    assert published[-1].policies


def test_uses_from_an_older_configuration_are_computed_again(tmp_path: Path) -> None:
    StoreBuilder(tmp_path).image("captain/img-captain-blog", "1")
    analyst = Analyst(OPTIONS)
    analysis = analyst.analyse(scan_store(tmp_path), status(images("other")))
    before = analyst.with_platform(Snapshot(), status(images("blog")))
    snapshot = analyst.with_scan(before, analysis, SCANNED)
    assert snapshot.uses is not None
    assert snapshot.uses.orphaned_repositories == set()


def test_an_image_pushed_after_the_loss_of_caprovers_file_is_not_orphaned(tmp_path: Path) -> None:
    store = StoreBuilder(tmp_path)
    old, new = "captain/img-captain-old", "captain/img-captain-new"
    named = "captain/img-captain-blog"
    for name, times in {old: (1,), new: (1, 20), named: (1, 20)}.items():
        for at in times:
            link = store.revision_link(name, store.image(name, str(at), at=at))
            os.utime(link, (at, at))
    running = frozenset({ImageName(named, "0", None, is_local=True)})
    known = AppImages(frozenset({"blog"}), running, frozenset())
    platform = PlatformStatus("CapRover", known, "gone", read_at=10.0)
    drawn = Analyst(OPTIONS).analyse(scan_store(tmp_path), platform).conclusions
    assert drawn.uses is not None
    assert drawn.uses.orphaned_repositories == {old}
    assert drawn.uses.repositories == {
        old: {"1": Use.ORPHANED},
        new: {"1": Use.UNMANAGED, "20": Use.UNMANAGED},
        named: {"1": Use.SUPERSEDED, "20": Use.UNMANAGED},
    }


def test_an_image_is_missing_only_after_a_scan_that_does_not_find_it(tmp_path: Path) -> None:
    StoreBuilder(tmp_path).image("captain/img-captain-blog", "1")
    analyst, snapshot = Analyst(OPTIONS), Snapshot()

    def running(tag: str) -> PlatformStatus:
        image = ImageName("captain/img-captain-blog", tag, None, is_local=True)
        return status(AppImages(frozenset({"blog"}), frozenset({image}), frozenset()))

    def scanned(before: Snapshot) -> Snapshot:
        analysis = analyst.analyse(scan_store(tmp_path), before.platform)
        return analyst.with_scan(before, analysis, SCANNED)

    def missing(snapshot: Snapshot) -> int:
        assert snapshot.uses is not None
        return snapshot.uses.missing_images[Use.RUNNING]

    snapshot = scanned(analyst.with_platform(snapshot, running("1")))
    snapshot = analyst.with_platform(snapshot, running("2"))
    assert missing(snapshot) == 0
    assert missing(scanned(snapshot)) == 1


def test_an_unchanged_store_is_not_analysed_again(tmp_path: Path) -> None:
    store = StoreBuilder(tmp_path)
    store.image("app", "1")
    followed = FollowedStore(tmp_path, FollowOptions(interval=0))
    followed.refresh()
    first = followed.snapshot
    followed.refresh()
    second = followed.snapshot
    assert second.store is first.store
    assert second.scan.scans == 2
    assert second.uses == first.uses
    store.image("app", "2")
    followed.refresh()
    assert followed.snapshot.store is not first.store
    assert followed.snapshot.store is not None
    assert len(followed.snapshot.store.inventory.repositories[0].tags) == 2
