"""Write docs/reliability.md: the figures of the tests of attack, load and failure."""

import re
from collections.abc import Callable, Generator, Iterator
from dataclasses import dataclass, field
from datetime import UTC, datetime
from pathlib import Path

import pytest

Record = Callable[[str, str], None]
"""Called with a promise, as a sentence, and the measured figure."""

_OPTION = "--reliability-page"
_SECTIONS = {
    "web": "Attacks and load on the HTTP server",
    "faults": "Faults in the environment",
    "change": "A store that changes during a scan",
    "privilege": "Least privilege",
    "supply": "Supply chain",
    "fuzz": "Fuzzing",
    "soak": "Twenty minutes under load",
}
_HEAD = """# Reliability under attack, load and failure

Written by `make reliability`, `make fuzz` and `make soak`, not by hand. Each line is a promise that
a test checks, and the figure of one run; the test fails if the promise is not kept. All but the
soak are part of `make test`, which shortens the tests that take minutes. Figures depend on the
machine.
"""
_HEADING = re.compile(r"^## (.+)$", re.MULTILINE)


@dataclass(slots=True)
class Findings:
    """Results of a run: rows of promise and figure, by section."""

    rows: dict[str, list[tuple[str, str]]] = field(default_factory=dict)

    def page(self, before: str, today: str) -> str:
        """Return the page: the sections of this run, and the other sections of ``before``."""
        parts = [_HEAD]
        earlier = _sections(before)
        for section, title in _SECTIONS.items():
            rows = self.rows.get(section)
            if rows:
                lines = [f"| {promise} | {figure} |" for promise, figure in rows]
                body = "\n".join((f"Run on {today}.\n", "| promise | shown |", "|---|---|", *lines))
                parts.append(f"## {title}\n\n{body}\n")
            elif title in earlier:
                parts.append(f"## {title}\n\n{earlier[title]}\n")
        return "\n".join(parts)


def _sections(page: str) -> dict[str, str]:
    """Return the text of each section of a page by its title."""
    _, *parts = _HEADING.split(page)
    return {title: text.strip() for title, text in zip(parts[::2], parts[1::2], strict=True)}


_FINDINGS = pytest.StashKey[Findings]()
_PASSED = pytest.StashKey[bool]()


def pytest_addoption(parser: pytest.Parser) -> None:
    """Add the option that names the page."""
    parser.addoption(
        _OPTION,
        type=Path,
        help="write the figures of the tests marked reliability to this page, and run the long "
        "ones for their full time",
    )


def pytest_configure(config: pytest.Config) -> None:
    """Start without findings."""
    config.stash[_FINDINGS] = Findings()


def pytest_sessionfinish(session: pytest.Session, exitstatus: int) -> None:
    """Write the page, if the run was asked for it and all its tests passed."""
    page: Path | None = session.config.getoption(_OPTION)
    if page is not None and exitstatus == pytest.ExitCode.OK:
        before = page.read_text(encoding="utf-8") if page.exists() else ""
        today = datetime.now(tz=UTC).date().isoformat()
        page.write_text(session.config.stash[_FINDINGS].page(before, today), encoding="utf-8")


@pytest.hookimpl(wrapper=True)
def pytest_runtest_makereport(
    item: pytest.Item,
) -> Generator[None, pytest.TestReport, pytest.TestReport]:
    """Remember whether a test passed: only then its figures count."""
    report = yield
    if report.when == "call":
        item.stash[_PASSED] = report.passed
    return report


@pytest.fixture
def at_length(request: pytest.FixtureRequest) -> bool:
    """Whether to run long tests for their full time, as for the page, or for a part of it."""
    return request.config.getoption(_OPTION) is not None


@pytest.fixture
def record(request: pytest.FixtureRequest) -> Iterator[Record]:
    """Yield a function that records a figure in the section of the test's mark ``reliability``."""
    mark = request.node.get_closest_marker("reliability")
    assert mark is not None, "mark the test: pytest.mark.reliability(SECTION)"
    (section,) = mark.args
    assert section in _SECTIONS, f"no such section: {section}"
    shown = []

    def note(promise: str, figure: str) -> None:
        shown.append((promise, figure))

    yield note
    if not request.node.stash.get(_PASSED, False):
        return
    assert shown, "the test is marked, and has recorded nothing"
    request.config.stash[_FINDINGS].rows.setdefault(section, []).extend(shown)
