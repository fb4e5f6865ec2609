"""The path grammar: names, links, start times."""

import re
from datetime import UTC, datetime

import pytest
from hypothesis import given
from hypothesis import strategies as st

from exporter.domain.digests import (
    DigestTable,
    format_digest,
    parse_digest,
)
from exporter.domain.text import printable
from exporter.store.format.layout import (
    blob_directory,
    is_repository_name,
    is_tag_name,
    is_upload_id,
    parse_link,
    parse_started_at,
)

DIGESTS = st.one_of(
    st.binary(min_size=32, max_size=32).map(lambda raw: f"sha256:{raw.hex()}"),
    st.binary(min_size=64, max_size=64).map(lambda raw: f"sha512:{raw.hex()}"),
    st.binary(min_size=16, max_size=40).map(lambda raw: f"blake2b+x:{raw.hex()}"),
)


@given(st.lists(DIGESTS))
def test_packed_digests_read_back_and_never_collide(texts: list[str]) -> None:
    digests = [parse_digest(each) for each in texts]
    assert [format_digest(each) for each in digests if each is not None] == texts
    assert len(set(digests)) == len(set(texts))


@given(st.lists(DIGESTS))
def test_a_digest_keeps_its_number(texts: list[str]) -> None:
    table = DigestTable()
    digests = [digest for each in texts if (digest := parse_digest(each)) is not None]
    numbers = [table.intern(digest) for digest in digests]
    assert [table[number] for number in numbers] == digests
    assert [table.find(digest) for digest in digests] == numbers
    assert len(table) == len(set(digests)) == len(list(table))


@pytest.mark.parametrize(
    "text",
    ["", "sha256", "sha256:", f"sha256:{'a' * 63}", f"sha256:{'A' * 64}", f"sha256:{'a ' * 64}",
     f"sha256:{'a' * 64}\n", f"../x:{'a' * 64}", f":{'a' * 64}", "sha256:" + "ä" * 64],
)  # fmt: skip
def test_other_texts_are_not_digests(text: str) -> None:
    assert parse_digest(text) is None


@pytest.mark.parametrize(
    "name",
    ["a", "a/b/c", "captain/img-captain-app", "captain/img-captain--app", "a.b_c__d---e", "A/b",
     "host.example/a/b", "a-B.c/d"],
)  # fmt: skip
def test_repository_names_of_the_reference_grammar_are_accepted(name: str) -> None:
    assert is_repository_name(name)


@pytest.mark.parametrize(
    "name",
    ["", "A", "a//b", "/a", "a/", "a..b", "-a", "a-", "a___b", "_layers", "a\n", 'a"b', "a\\b",
     "a b", "\udcff", "é",
     "a/B", "A.b", "a:1", "host:/a", "-A/b", "A-/b", "A..b/c", "a:1/b", "a/" * 130 + "a"],
)  # fmt: skip
def test_other_repository_names_are_refused(name: str) -> None:
    assert not is_repository_name(name)


def test_tags_are_distinguished_from_other_names() -> None:
    assert is_tag_name("1.0-rc_2")
    assert is_tag_name("a" * 128)
    for name in ("", ".a", "-a", "a" * 129, "a/b", "a b", "a\n", "ä"):
        assert not is_tag_name(name)


def test_uploads_have_uuids_as_names() -> None:
    assert is_upload_id("3fa85f64-5717-4562-b3fc-2c963f66afa6")
    assert not is_upload_id("3fa85f6457174562b3fc2c963f66afa6")


@pytest.mark.parametrize("content", [b"", b"\xff", b"sha256:", b"x" * 1024])
def test_other_contents_are_not_links(content: bytes) -> None:
    assert parse_link(content) is None
    assert parse_link(f"sha256:{'a' * 64}\n".encode()) is None


def test_a_link_contains_its_digest() -> None:
    link = f"sha256:{'a' * 64}"
    assert parse_link(link.encode()) == parse_digest(link)


@given(st.datetimes(datetime(1970, 1, 1), datetime(2100, 1, 1)))  # noqa: DTZ001 - made aware below
def test_start_times_are_read_as_the_registry_writes_them(moment: datetime) -> None:
    aware = moment.replace(tzinfo=UTC)
    written = aware.strftime("%Y-%m-%dT%H:%M:%S") + f".{aware.microsecond:06d}Z"
    assert parse_started_at(written.encode()) == pytest.approx(aware.timestamp(), abs=1e-3)


@pytest.mark.parametrize(
    "content", [b"", b"yesterday", b"2026-13-01T00:00:00Z", b"2026-01-01", b"\xff\xfe"]
)
def test_other_start_times_are_unknown(content: bytes) -> None:
    assert parse_started_at(content) is None


def test_a_start_time_may_have_a_zone() -> None:
    assert parse_started_at(b"1970-01-01T01:00:00+01:00") == 0


def test_a_blob_path_contains_the_first_two_digits() -> None:
    assert blob_directory("sha256:abcd") == "blobs/sha256/ab/abcd"


@given(st.text())
def test_printed_paths_contain_no_control_characters(path: str) -> None:
    assert re.fullmatch(r"[ -~]*", printable(path))
