"""A look at one repository sees what has changed, at once, and is cheap where nothing has."""

import shutil
import time
from collections.abc import Mapping
from functools import partial
from pathlib import Path

import pytest
from hypothesis import given, settings

from demo.child_process import wait_until
from demo.store import StoreBuilder
from exporter.domain.digests import Digest, parse_digest
from exporter.domain.errors import StoreUnreadableError
from exporter.store.filesystem.rescan.change_stamps import SETTLED_SECONDS
from exporter.store.filesystem.scanner import scan_store
from exporter.store.filesystem.store import FilesystemStore
from exporter.store.port import TagLink
from tests.random_stores import STEPS_WITH_LOSSES, Step, build, temporary_directory

OLD = 1_700_000_000.0


def packed(text: str) -> Digest:
    digest = parse_digest(text)
    assert digest is not None
    return digest


def scanned(root: Path) -> dict[str, dict[str, TagLink]]:
    inventory = scan_store(root)
    return {
        repository.name: {
            tag.name: (
                None if tag.target is None else inventory.digests[tag.target],
                tag.updated_at,
            )
            for tag in repository.tags
        }
        for repository in inventory.repositories
    }


@given(STEPS_WITH_LOSSES)
@settings(max_examples=40)
def test_a_look_finds_the_tags_and_times_that_a_scan_finds(steps: list[Step]) -> None:
    with temporary_directory() as root:
        build(StoreBuilder(root), steps)
        expected = scanned(root)
        if not (root / "docker/registry/v2").is_dir():
            return
        with FilesystemStore(root).open_looker() as looker:
            for _ in range(2):
                assert {name: dict(looker.tags(name)) for name in expected} == expected


def test_each_change_is_seen_by_the_next_look(tmp_path: Path) -> None:
    store = StoreBuilder(tmp_path)
    first = store.image("team/app", "1", [b"first"], at=OLD)
    second = store.image("team/app", "2", [b"second"], at=OLD)
    targets = {"1": packed(first), "2": packed(second)}
    with FilesystemStore(tmp_path).open_looker() as looker:

        def seen() -> Mapping[str, Digest | None]:
            return {name: target for name, (target, _) in looker.tags("team/app").items()}

        assert seen() == targets
        for _ in range(50):  # in place, and several times within one tick of the clock
            store.tag("team/app", "1", second)
            assert seen() == {**targets, "1": packed(second)}
            store.tag("team/app", "1", first)
            assert seen() == targets
        assert looker.linked_at("team/app", packed(first)) == OLD
        store.tag("team/app", "latest", first, at=OLD + 5)
        assert looker.tags("team/app")["latest"] == (packed(first), OLD + 5)
        store.delete_tag("team/app", "latest")
        store.revision_link("team/app", first).unlink()
        assert seen() == targets
        assert looker.linked_at("team/app", packed(first)) is None
        store.tag_link("team/app", "1").write_bytes(b"")
        assert looker.tags("team/app")["1"][0] is None
        store.tag_link("team/app", "1").unlink()
        assert looker.tags("team/app")["1"] == (None, None)
        shutil.rmtree(store.repository_path("team/app"))
        assert looker.tags("team/app") == {}
        assert looker.linked_at("team/app", packed(second)) is None


def test_a_tag_that_is_created_and_removed_between_two_looks_is_noticed(tmp_path: Path) -> None:
    store = StoreBuilder(tmp_path)
    digest = store.image("team/app", "1", [b"first"], at=OLD)
    store.image("team/other", "1", [b"other"], at=OLD)
    with FilesystemStore(tmp_path).open_looker() as looker:
        looker.tags("team/app")
        assert looker.created() == set()
        for name in ("gone", "there"):
            store.tag("team/app", name, digest)
        store.tag("team/app", "1", digest)
        store.delete_tag("team/app", "gone")
        (store.repository_path("team/app") / "_manifests/tags/@eaDir").mkdir()
        assert looker.tags("team/app").keys() == {"1", "there"}
        assert looker.created() == {"gone", "there"}
        looker.tags("team/app")
        assert looker.created() == set()
        store.tag("team/app", "2", digest)
        looker.tags("team/other")
        assert looker.created() == set()
        looker.tags("team/app")
        assert looker.created() == set()  # it was not watched meanwhile


def test_a_push_of_a_manifest_between_two_looks_is_noticed(tmp_path: Path) -> None:
    store = StoreBuilder(tmp_path)
    names = [store.image("app", str(each), [b"%d" % each], at=OLD) for each in range(2)]
    one, other = map(packed, names)
    link = store.revision_link("app", names[0])
    with FilesystemStore(tmp_path).open_looker() as looker:
        assert not looker.was_pushed("app", one)
        link.unlink()
        assert not looker.was_pushed("app", one)
        link.write_text(names[0])
        link.unlink()
        assert looker.was_pushed("app", one)
        for _ in range(3):
            assert not looker.was_pushed("app", one)
            link.write_text(names[0])  # in place the second time, as version 2 does
            assert looker.was_pushed("app", one)
        assert not looker.was_pushed("app", one)
        temporary = link.with_name("link.tmp")
        temporary.write_text(names[0])
        temporary.rename(link)  # as version 3 does
        assert looker.was_pushed("app", one)
        link.write_text(names[0])
        assert not looker.was_pushed("app", other)
        assert not looker.was_pushed("app", one)  # it was not watched meanwhile
        shutil.rmtree(link.parent)
        assert not looker.was_pushed("app", one)


def test_what_cannot_be_read_is_an_error_with_the_path(tmp_path: Path) -> None:
    store = StoreBuilder(tmp_path)
    digest = store.image("team/app", "1", [b"first"])
    tags = store.repository_path("team/app") / "_manifests/tags"
    elsewhere = tmp_path / "elsewhere"
    tags.rename(elsewhere)
    tags.symlink_to(elsewhere)
    with FilesystemStore(tmp_path).open_looker() as looker:
        with pytest.raises(StoreUnreadableError, match=r"team/app/_manifests/tags: .*symbolic"):
            looker.tags("team/app")
        assert looker.linked_at("team/app", packed(digest)) is not None
    with (
        pytest.raises(StoreUnreadableError, match="does not exist"),
        FilesystemStore(tmp_path / "nowhere").open_looker(),
    ):
        pass


@pytest.mark.alone
def test_a_look_at_ten_thousand_unchanged_tags_takes_a_few_hundredths_of_a_second() -> None:
    with temporary_directory() as root:
        store = StoreBuilder(root)
        digests = [store.image("app", None, [b"%d" % number], at=OLD) for number in range(100)]
        for number in range(10_000):
            store.tag("app", f"tag-{number}", digests[number % 100], at=OLD)
        # until the change times are old enough to rely on
        wait_until(partial(_has_settled, time.time()), "the clock stands still", 30)
        with FilesystemStore(root).open_looker() as looker:
            assert len(looker.tags("app")) == 10_000
            durations = []
            for _ in range(5):
                began = time.perf_counter()
                assert len(looker.tags("app")) == 10_000
                durations.append(time.perf_counter() - began)
    assert min(durations) < 0.15, f"{min(durations) * 1000:.0f} ms"


def _has_settled(since: float) -> bool:
    return time.time() - since > SETTLED_SECONDS
