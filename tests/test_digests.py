"""Digest tables share their content without affecting each other."""

from hypothesis import given
from hypothesis import strategies as st

from exporter.domain.digests import Digest, DigestTable

DIGESTS = st.integers(0, 30).map(lambda number: Digest(bytes([number]) * 32))


@given(st.lists(st.tuples(st.integers(0, 5), st.booleans(), st.lists(DIGESTS))))
def test_copies_grow_independently(steps: list[tuple[int, bool, list[Digest]]]) -> None:
    tables = [DigestTable()]
    expected: list[list[Digest]] = [[]]
    for chosen, is_copied, digests in steps:
        place = chosen % len(tables)
        if is_copied:
            tables.append(tables[place].copy())
            expected.append(list(expected[place]))
            assert tables[-1].continues(tables[place])
            place = len(tables) - 1
        numbers = tables[place].intern_all(digests)
        expected[place] += [each for each in dict.fromkeys(digests) if each not in expected[place]]
        assert [expected[place][number] for number in numbers] == digests
        for table, known in zip(tables, expected, strict=True):
            assert list(table) == known
            assert len(table) == len(known)
            for number in range(31):
                digest = Digest(bytes([number]) * 32)
                found = known.index(digest) if digest in known else None
                assert table.find(digest) == found
        for table, known in zip(tables, expected, strict=True):
            for other, part in zip(tables, expected, strict=True):
                if table.continues(other):
                    assert known[: len(part)] == part


def test_a_copy_no_longer_continues_a_table_that_grew_after_the_copy() -> None:
    first = DigestTable()
    copy = first.copy()
    first.intern(Digest(b"a" * 32))
    copy.intern(Digest(b"b" * 32))
    assert list(first) != list(copy)
    assert not copy.continues(first)
