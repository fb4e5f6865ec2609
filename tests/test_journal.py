"""The journal of `apply`: each line is there after a crash, and none is written twice at a time."""

import json
import os
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from exporter.commands.apply.journal_file import open_journal, read_known
from exporter.domain.errors import JournalUnusableError, OutputError
from exporter.domain.journal import (
    JournalHead,
    JournalLine,
    Result,
    encode_journal,
    read_journal,
)

HEAD = JournalHead(plan="a" * 64, store="/store", backup="/backup", time=1000.0)
DIGEST = "sha256:" + "b" * 64
TIMES = st.none() | st.floats(0, 4e9)
LINES = st.lists(
    st.builds(
        JournalLine,
        st.floats(0, 4e9),
        st.sampled_from(["team/app", "team/other"]),
        st.sampled_from([DIGEST, DIGEST.replace("b", "c")]),
        st.sampled_from(Result),
        st.none() | st.text(),
        st.dictionaries(st.text(), TIMES, max_size=3),
        TIMES,
        st.none() | st.text(),
    ),
    max_size=6,
)


@given(LINES, st.integers(0, 2000))
def test_whatever_a_crash_cuts_off_the_complete_lines_are_read(
    lines: list[JournalLine], cut: int
) -> None:
    rows = [encode_journal(HEAD), *map(encode_journal, lines)]
    content = b"".join(rows)
    assert read_journal(content).lines == {each.manifest: each for each in lines}
    found = read_journal(content[:cut])
    complete = content[:cut].count(b"\n")
    assert found.length == len(b"".join(rows[:complete]))
    assert found.head == (HEAD if complete else None)
    assert found.lines == {each.manifest: each for each in lines[: max(complete - 1, 0)]}


def line(result: Result, reason: str | None = None) -> JournalLine:
    return JournalLine(1001.0, "team/app", DIGEST, result, reason=reason)


def test_a_second_run_continues_after_the_last_complete_line(tmp_path: Path) -> None:
    path = tmp_path / "plan.journal"
    with open_journal(path, HEAD) as journal:
        assert journal.known == {}
        journal.write(line(Result.ASKED))
    with path.open("ab") as file:
        file.write(b'{"time": 1002.0, "repos')
    with open_journal(path, HEAD) as journal:
        assert journal.known == {("team/app", DIGEST): line(Result.ASKED)}
        journal.write(line(Result.DELETED))
    rows = [json.loads(row) for row in path.read_bytes().splitlines()]
    assert rows[0]["format"] == 1
    assert rows[0]["backup"] == "/backup"
    assert [row["result"] for row in rows[1:]] == ["asked", "deleted"]
    assert read_known(path, HEAD) == {("team/app", DIGEST): line(Result.DELETED)}
    assert path.stat().st_mode & 0o777 == 0o600
    assert read_known(tmp_path / "nothing", HEAD) == {}


def test_two_runs_at_a_time_exclude_one_another(tmp_path: Path) -> None:
    path = tmp_path / "plan.journal"
    with (
        open_journal(path, HEAD),
        pytest.raises(JournalUnusableError, match="another run of apply writes to"),
        open_journal(path, HEAD),
    ):
        pass


@pytest.mark.parametrize(
    ("content", "reason"),
    [
        (encode_journal(JournalHead("c" * 64, "/store", "/backup", 1.0)), "of another plan"),
        (encode_journal(JournalHead("a" * 64, "/other", "/backup", 1.0)), "of another plan"),
        (encode_journal(JournalHead("a" * 64, "/store", None, 1.0)), "begun with --no-backup"),
        (encode_journal(JournalHead("a" * 64, "/store", "/x", 1.0)), "begun with --backup /x"),
        (encode_journal(JournalHead("a" * 64, "/store", None, 1.0, 2)), "has the format 2"),
        (b"# Manifests to delete\n", "line 1 of the journal is not one"),
        (encode_journal(HEAD) + b"{}\n", "line 2 of the journal is not one"),
        (encode_journal(HEAD) + b"\xff\n", "line 2 of the journal is not one"),
        (b"correct horse battery staple", "line 1 of the journal is not one"),
        (b'{"plane": 1}', "line 1 of the journal is not one"),
        (b"[" * 100_000 + b"\n", "line 1 of the journal is not one"),
        (encode_journal(HEAD) + b"[" * 100_000 + b"\n", "line 2 of the journal is not one"),
        (encode_journal(HEAD).replace(b"/backup", b"\\u0000"), "line 1 of the journal is not one"),
    ],
)
def test_another_journal_is_refused_and_stays_as_it_is(
    tmp_path: Path, content: bytes, reason: str
) -> None:
    path = tmp_path / "plan.journal"
    path.write_bytes(content)
    with pytest.raises(JournalUnusableError, match=reason), open_journal(path, HEAD):
        pass
    assert path.read_bytes() == content


def test_a_journal_that_cannot_be_written_is_an_error_with_what_to_do(tmp_path: Path) -> None:
    with (
        pytest.raises(OutputError, match=r"nowhere.*give a file that uid \d+ may write"),
        open_journal(tmp_path / "nowhere" / "plan.journal", HEAD),
    ):
        pass
    (tmp_path / "link").symlink_to(tmp_path / "other")
    with (
        pytest.raises(OutputError, match="cannot write the journal"),
        open_journal(tmp_path / "link", HEAD),
    ):
        pass
    with (
        pytest.raises(JournalUnusableError, match="is not a regular file; give another"),
        open_journal(Path("/dev/full"), HEAD),
    ):
        pass
    assert not os.path.lexists(tmp_path / "other")
