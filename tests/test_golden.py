"""The figures of known stores do not change by a single byte."""

from pathlib import Path

import pytest

from tests.golden_outputs import GOLDEN, STORES, outputs_of


@pytest.mark.parametrize("name", STORES)
def test_metrics_and_report_of_a_known_store_equal_the_golden_files(
    name: str, tmp_path: Path
) -> None:
    """Ignore HELP texts and values that differ from run to run."""
    written = dict(outputs_of(name, tmp_path))
    assert written.keys() == {f"{name}.prom", f"{name}.json"}
    for file, content in written.items():
        assert content == (GOLDEN / file).read_text(encoding="utf-8")
