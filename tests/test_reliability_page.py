"""The reliability page: each run writes its own sections and keeps the others."""

import pytest

from tests.reliability import Findings

pytest_plugins = ("pytester",)


def test_a_run_writes_its_sections_in_order_and_keeps_the_others() -> None:
    soak = Findings({"soak": [("memory stays", "1.01 of minute two")]})
    first = soak.page("", "2026-01-02")
    assert "## Twenty minutes under load\n\nRun on 2026-01-02.\n" in first
    assert "| memory stays | 1.01 of minute two |" in first

    web = Findings({"web": [("200 clients", "3 ms")]})
    second = web.page(first, "2026-02-03")

    assert second.index("| 200 clients | 3 ms |") < second.index("| memory stays |")
    assert "Run on 2026-01-02." in second
    assert "Run on 2026-02-03." in second
    assert web.page(second, "2026-02-03") == second
    newer = Findings({"soak": [("memory stays", "1.02 of minute two")]}).page(second, "2026-03-04")
    assert "1.01" not in newer
    assert newer.count("## ") == 2


def test_a_marked_test_must_record_a_finding_unless_it_is_skipped(
    pytester: pytest.Pytester,
) -> None:
    pytester.makeini("[pytest]\nmarkers = reliability(section)")
    pytester.makepyfile(
        """
        import pytest

        pytestmark = pytest.mark.reliability("soak")

        def test_records(record):
            record("memory stays", "1.01 of minute two")

        def test_records_nothing(record):
            pass

        def test_is_skipped(record):
            pytest.skip("the server is not installed")
        """
    )
    done = pytester.runpytest_inprocess("-p", "tests.reliability")
    done.assert_outcomes(passed=2, skipped=1, errors=1)
    done.stdout.fnmatch_lines("*the test is marked, and has recorded nothing*")
