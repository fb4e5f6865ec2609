"""The threat model names tests that exist, and readers find it."""

import re

from tests.exporter_process import REPOSITORY

PAGE = REPOSITORY / "docs" / "security.md"
POLICY = REPOSITORY / "SECURITY.md"
MOST_LINES = 130


def test_every_test_in_the_threat_model_exists() -> None:
    named = re.findall(r"`(test_\w+)`", PAGE.read_text("utf-8"))
    sources = {path.stem: path.read_text("utf-8") for path in (REPOSITORY / "tests").glob("*.py")}
    assert len(named) >= 20
    for name in named:
        assert name in sources or any(f"\ndef {name}(" in text for text in sources.values()), name


def test_the_threat_model_is_one_page_that_readers_find() -> None:
    assert len(PAGE.read_text("utf-8").splitlines()) <= MOST_LINES
    readme = (REPOSITORY / "README.md").read_text("utf-8")
    assert "(docs/security.md)" in readme
    assert "(SECURITY.md)" in readme


def test_the_policy_covers_the_current_version_and_invents_no_address() -> None:
    text = POLICY.read_text("utf-8")
    assert "latest release" in text
    assert re.findall(r"\S+@\S+\.\w+", text) == []
