"""The figures of known stores stay what they are, to the byte."""

from pathlib import Path

import pytest

from tests.golden_outputs import GOLDEN, STORES, outputs_of


@pytest.mark.parametrize("name", STORES)
def test_metrics_and_report_of_a_known_store_are_those_of_the_golden_files(
    name: str, tmp_path: Path
) -> None:
    """Only HELP texts, and what differs from run to run, may differ."""
    written = dict(outputs_of(name, tmp_path))
    assert written.keys() == {f"{name}.prom", f"{name}.json"}
    for file, content in written.items():
        assert content == (GOLDEN / file).read_text(encoding="utf-8")
