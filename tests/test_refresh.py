"""The loops outlive everything, and the board publishes one snapshot at a time."""

import logging
import os
import threading
from pathlib import Path

import pytest

from demo.store import StoreBuilder
from exporter.analysis.analyst import AnalysisOptions, Conclusions
from exporter.domain.errors import StoreUnreadableError
from exporter.domain.images import AppImages, ImageName
from exporter.domain.model import ApiView, FilesystemUsage
from exporter.domain.snapshot import ApiStatus, CaproverStatus, ScanStatus, Snapshot, StoreReading
from exporter.domain.uses import Use
from exporter.serve.publisher import SnapshotBoard
from exporter.serve.refresh import Loop, StoreRefresher, read_store
from tests.servers import wait_until

USAGE = FilesystemUsage(10, 5, 4, 3, 2, readonly=False)


@pytest.mark.parametrize("error", [StoreUnreadableError("gone"), RuntimeError("a bug")])
@pytest.mark.parametrize("telling_fails", [False, True])
def test_a_loop_outlives_whatever_goes_wrong(
    error: Exception, caplog: pytest.LogCaptureFixture, *, telling_fails: bool
) -> None:
    attempts: list[int] = []
    told: list[Exception] = []
    stop = threading.Event()

    def act() -> None:
        attempts.append(1)
        raise error

    def tell(failure: Exception) -> None:
        told.append(failure)
        if telling_fails:
            raise MemoryError("no room to tell")

    loop = Loop("acting", act, 0.01, stop, tell)
    with caplog.at_level(logging.ERROR):
        loop.start()
        wait_until(lambda: len(attempts) > 3, "the loop does not go on", 10)
        stop.set()
        loop.join(5)
    assert not loop.is_alive()
    assert set(told) == {error}
    assert f"acting failed: {error}" in caplog.text or "acting failed, which is" in caplog.text
    assert ("no room to tell" in caplog.text) == telling_fails
    assert len(caplog.records) == 1 + telling_fails  # though it went wrong four times


def test_a_loop_says_that_it_works_again(caplog: pytest.LogCaptureFixture) -> None:
    stop = threading.Event()
    attempts: list[int] = []

    def act() -> None:
        attempts.append(1)
        if len(attempts) < 4:
            raise StoreUnreadableError("gone")

    loop = Loop("acting", act, 0.01, stop)
    with caplog.at_level(logging.INFO):
        loop.start()
        wait_until(lambda: len(attempts) > 5, "the loop does not go on", 10)
        stop.set()
        loop.join(5)
    assert [each.getMessage() for each in caplog.records] == [
        "acting failed: gone",
        "acting works again",
    ]


def test_a_loop_tries_again_sooner_after_a_failure() -> None:
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
        Loop("acting", action, 3600.0, Recorded()).run()
    after_failure, after_success = pauses
    assert after_failure is not None
    assert after_success is not None
    assert after_failure <= 30
    assert after_success > 3000


def test_every_change_is_published_and_nothing_else() -> None:
    published: list[Snapshot] = []
    board = SnapshotBoard(published.append)
    board.post_filesystem(USAGE)
    board.post_filesystem(USAGE)
    board.post_api(ApiStatus(ApiView({})))
    board.post_scan(None, ScanStatus(scans=1, failures=1, succeeded=False))
    assert len(published) == 3
    assert published[-1] is board.snapshot
    assert board.snapshot.filesystem == USAGE
    assert board.snapshot.api is not None
    assert board.snapshot.scan.failures == 1


def test_a_snapshot_that_cannot_be_published_is_not_kept() -> None:
    def refuse(_: Snapshot) -> None:
        raise ValueError("cannot be rendered")

    board = SnapshotBoard(refuse)
    before = board.snapshot
    with pytest.raises(ValueError, match="rendered"):
        board.post_filesystem(USAGE)
    assert board.snapshot is before


def test_differences_are_not_known_without_both_sides() -> None:
    board = SnapshotBoard(lambda _: None)
    board.post_api(ApiStatus(ApiView({"app": frozenset({"1"})})))
    assert board.snapshot.tag_differences is None


def images(*apps: str) -> AppImages:
    return AppImages(frozenset(apps), frozenset(), frozenset())


def test_uses_follow_caprovers_configuration_and_outlive_its_loss(tmp_path: Path) -> None:
    store = StoreBuilder(tmp_path)
    store.image("captain/img-captain-blog", "1")
    published: list[Snapshot] = []
    options = AnalysisOptions(image_prefix="captain", keep_last=(1,))
    board = SnapshotBoard(published.append, options)
    reading, conclusions = read_store(tmp_path, options=options)
    board.post_scan(reading, ScanStatus(scans=1, succeeded=True), conclusions)
    assert (published[-1].uses, published[-1].policies) == (None, None)
    orphaned = []
    for status in (
        CaproverStatus(images("other")),
        CaproverStatus(images("other"), "gone"),
        CaproverStatus(images("other"), "gone"),
        CaproverStatus(images("blog")),
    ):
        board.post_caprover(status)
        assert board.snapshot.uses is not None
        orphaned.append(len(board.snapshot.uses.orphaned_repositories))
    assert orphaned == [1, 1, 1, 0]
    assert len(published) == 4
    assert published[-1].policies


def test_conclusions_from_an_older_configuration_are_drawn_again(tmp_path: Path) -> None:
    StoreBuilder(tmp_path).image("captain/img-captain-blog", "1")
    options = AnalysisOptions(image_prefix="captain")
    board = SnapshotBoard(lambda _: None, options)
    old = CaproverStatus(images("other"))
    reading, conclusions = read_store(tmp_path, options=options, caprover=old)
    board.post_caprover(CaproverStatus(images("blog")))
    board.post_scan(reading, ScanStatus(scans=1, succeeded=True), conclusions)
    assert board.snapshot.uses is not None
    assert board.snapshot.uses.orphaned_repositories == set()


def conclusions_of(
    root: Path, known: AppImages, read_at: float | None = None
) -> tuple[StoreReading, Conclusions]:
    options = AnalysisOptions(image_prefix="captain")
    status = CaproverStatus(known, "gone", read_at)
    return read_store(root, options=options, caprover=status)


def test_what_was_pushed_since_caprovers_file_was_lost_is_nobodys_orphan(tmp_path: Path) -> None:
    store = StoreBuilder(tmp_path)
    old, new = "captain/img-captain-old", "captain/img-captain-new"
    named = "captain/img-captain-blog"
    for name, times in {old: (1,), new: (1, 20), named: (1, 20)}.items():
        for at in times:
            link = store.revision_link(name, store.image(name, str(at), at=at))
            os.utime(link, (at, at))
    running = frozenset({ImageName(named, "0", None, is_local=True)})
    _, drawn = conclusions_of(tmp_path, AppImages(frozenset({"blog"}), running, frozenset()), 10.0)
    assert drawn.uses is not None
    assert drawn.uses.orphaned_repositories == {old}
    assert drawn.uses.repositories == {
        old: {"1": Use.ORPHANED},
        new: {"1": Use.UNMANAGED, "20": Use.UNMANAGED},
        named: {"1": Use.SUPERSEDED, "20": Use.UNMANAGED},
    }


def test_an_image_is_missing_when_a_scan_has_not_found_it_not_when_it_was_just_deployed(
    tmp_path: Path,
) -> None:
    StoreBuilder(tmp_path).image("captain/img-captain-blog", "1")
    options = AnalysisOptions(image_prefix="captain")
    board = SnapshotBoard(lambda _: None, options)

    def running(tag: str) -> CaproverStatus:
        image = ImageName("captain/img-captain-blog", tag, None, is_local=True)
        return CaproverStatus(AppImages(frozenset({"blog"}), frozenset({image}), frozenset()))

    def scan() -> None:
        reading, drawn = read_store(tmp_path, options=options, caprover=board.snapshot.caprover)
        board.post_scan(reading, ScanStatus(scans=1, succeeded=True), drawn)

    def missing() -> int:
        assert board.snapshot.uses is not None
        return board.snapshot.uses.missing_images[Use.RUNNING]

    board.post_caprover(running("1"))
    scan()
    board.post_caprover(running("2"))
    assert missing() == 0
    scan()
    assert missing() == 1


def test_a_store_that_has_not_changed_is_not_analysed_again(tmp_path: Path) -> None:
    store = StoreBuilder(tmp_path)
    store.image("app", "1")
    board = SnapshotBoard(lambda _: None)
    refresher = StoreRefresher(tmp_path, board, threading.Event(), interval=0)
    refresher.refresh()
    first = board.snapshot
    refresher.refresh()
    second = board.snapshot
    assert second.store is first.store
    assert second.scan.scans == 2
    assert second.uses == first.uses
    store.image("app", "2")
    refresher.refresh()
    assert board.snapshot.store is not first.store
    assert board.snapshot.store is not None
    assert len(board.snapshot.store.inventory.repositories[0].tags) == 2
