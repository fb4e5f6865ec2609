"""The plan file: what is written is read again, and what makes no sense is refused with advice."""

import re
from contextlib import suppress
from math import floor

import pytest
from hypothesis import given
from hypothesis import strategies as st

from exporter.analysis.deletion.freeable import Kind
from exporter.analysis.deletion.freeing import Freeing, Step
from exporter.analysis.deletion.plan import Deletion, Plan
from exporter.domain.errors import PlanRefusedError
from exporter.domain.plan_file import PlannedDeletion, read_plan
from exporter.domain.text import printable
from exporter.views.deletion_plan.text import PlanOrigin, write_freeing, write_plan

HEX = st.text("0123456789abcdef", min_size=64, max_size=64)
TAGS = st.lists(st.from_regex(r"[A-Za-z0-9_][A-Za-z0-9_.-]{0,20}", fullmatch=True), unique=True)
NAMES = st.from_regex(r"[a-z0-9]+(?:[._/-][a-z0-9]+){0,3}", fullmatch=True)
DELETIONS = st.lists(
    st.builds(
        Deletion,
        NAMES,
        st.builds("sha256:{}".format, HEX),
        TAGS.map(tuple),
        st.integers(0, 2**50),
    ),
    unique_by=lambda each: (each.repository, each.digest),
)
ORIGINS = st.builds(
    PlanOrigin, st.text().map(printable), st.text().map(printable), st.floats(0, 4e9)
)
NOTES = st.lists(st.text().map(printable))
DIGEST = "sha256:" + "a" * 64
HEADER = "# Plan format: 2\n# Store: /store\n# Made: 2026-11-24T02:39:10.481516+00:00\n"


def planned(each: Deletion) -> PlannedDeletion:
    return PlannedDeletion(each.repository, each.digest, each.freed_bytes, each.tags)


@given(DELETIONS, ORIGINS, st.text().map(printable), NOTES)
def test_what_is_written_is_read_again(
    deletions: list[Deletion], origin: PlanOrigin, selection: str, notes: list[str]
) -> None:
    step = Step(Kind.UNTAGGED, tuple(deletions))
    for text in (
        write_plan(Plan(tuple(deletions), 1, 1, 0, ()), origin, selection, notes),
        write_freeing(Freeing(5, 0, (step,), {}), origin, selection, notes),
    ):
        found = read_plan(text)
        assert found.store == origin.identity
        assert abs(found.made_at - origin.scanned_at) < 1e-6
        assert found.lines == tuple(map(planned, deletions))


@given(st.text())
def test_any_text_is_read_or_refused(text: str) -> None:
    for each in (text, HEADER + text):
        with suppress(PlanRefusedError):
            read_plan(each)


@given(DELETIONS)
def test_the_first_part_of_a_plan_is_a_plan(deletions: list[Deletion]) -> None:
    text = write_plan(Plan(tuple(deletions), 0, 0, 0, ()), PlanOrigin("/", "/", 1.0), "--untagged")
    rows = text.split("\n")
    kept = floor(len(deletions) / 2)
    places = [place for place, row in enumerate(rows) if row and not row.startswith("#")]
    part = rows[: places[kept]] if kept < len(places) else rows
    assert read_plan("\r\n".join(part)).lines == tuple(map(planned, deletions[:kept]))


@pytest.mark.parametrize(
    ("text", "reason"),
    [
        ("", "no line `# Plan format: 2`"),
        (f"# Manifests to delete\nteam/app@{DIGEST}\t1\t-\n", "of an older version, or no plan"),
        (HEADER.replace("format: 2", "format: 3"), "the format 3, and this version reads 2"),
        (HEADER.replace("# Store: ", "# "), "no line `# Store:`"),
        (HEADER.replace("# Made: ", "# "), "no line `# Made:`"),
        (HEADER.replace("+00:00", ""), "no time with a time zone"),
        (HEADER.replace("2026-11", "tomorrow"), "no time with a time zone"),
        (f"{HEADER}team/app@{DIGEST} 1 -\n", "line 4 of the plan is not `REPOSITORY@DIGEST"),
        (f"{HEADER}team/app@{DIGEST}\t-1\t-\n", "line 4"),
        (f"{HEADER}team/app@{DIGEST[:-1]}\t1\t-\n", "line 4"),
        (f"{HEADER}@{DIGEST}\t1\t-\n", "line 4"),
        (f"{HEADER}team/app@{DIGEST}\t1\t\n", "line 4"),
        (f"{HEADER}team/app@{DIGEST}\t1\ta,,b\n", "line 4"),
        (f"{HEADER}team/app@{DIGEST}\t1\ta,a\n", "line 4"),
        (f"{HEADER}#\nteam\x1b[2J@{DIGEST}\n", r"line 5 .*team\\x1b\[2J"),
        (f"{HEADER}team/app@{DIGEST}\t1\ta\nteam/app@{DIGEST}\t1\tb\n", "lines 4 and 5"),
    ],
)
def test_what_makes_no_sense_is_refused_with_the_line_and_what_to_do(
    text: str, reason: str
) -> None:
    with pytest.raises(PlanRefusedError, match="make the plan again with `plan`") as refused:
        read_plan(text)
    assert re.search(reason, str(refused.value))
