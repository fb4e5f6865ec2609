"""The log: one machine-readable line per event, whatever the event contains."""

import json
import logging
import re
import sys
from collections.abc import Callable, Iterator
from datetime import UTC, datetime

import pytest
from hypothesis import given
from hypothesis import strategies as st

from exporter.support.logs import JsonFormatter, LogfmtFormatter, ProblemLog, fields, set_up_logging

Event = dict[str, str]
Read = Callable[[str], Event]

MOMENT = datetime(2026, 11, 23, 22, 31, 33, 123_400, UTC)
_PAIR = re.compile(r'(\w+)=("(?:[^"\\]|\\.)*"|[^\s"=]+)(?: |$)')


def read_logfmt(line: str) -> Event:
    """Parse a line as a log shipper does; raise ValueError if a part of it is not a pair."""
    event, place = {}, 0
    while place < len(line):
        pair = _PAIR.match(line, place)
        if pair is None:
            raise ValueError(f"no pair at {place}: {line}")
        value = pair[2]
        event[pair[1]] = json.loads(value) if value.startswith('"') else value
        place = pair.end()
    return event


def read_json(line: str) -> Event:
    return {name: str(value) for name, value in json.loads(line).items()}


FORMATS = [
    pytest.param(LogfmtFormatter(), read_logfmt, id="logfmt"),
    pytest.param(JsonFormatter(), read_json, id="json"),
]


def record(message: str, *arguments: object, **values: object) -> logging.LogRecord:
    made = logging.LogRecord(
        "exporter.serve.refresh", logging.WARNING, "refresh.py", 1, message, arguments, None
    )
    made.created = MOMENT.timestamp()
    made.__dict__.update(fields(**values))
    return made


def test_a_logfmt_line_has_time_level_logger_message_and_fields() -> None:
    event = record("scanned the store", blobs=3, duration_seconds=0.12345, complete=True)
    assert LogfmtFormatter().format(event) == (
        'ts=2026-11-23T22:31:33.123Z level=warning logger=serve.refresh msg="scanned the store" '
        "blobs=3 duration_seconds=0.123 complete=True"
    )


def test_a_json_line_has_time_level_logger_message_and_fields() -> None:
    event = record("scanned the store", blobs=3, duration_seconds=0.25, complete=True)
    assert json.loads(JsonFormatter().format(event)) == {
        "ts": "2026-11-23T22:31:33.123Z",
        "level": "warning",
        "logger": "serve.refresh",
        "msg": "scanned the store",
        "blobs": 3,
        "duration_seconds": 0.25,
        "complete": True,
    }


@pytest.mark.parametrize(("formatter", "read"), FORMATS)
@pytest.mark.parametrize(
    "value",
    [
        "",
        "two words",
        'a "quoted" word',
        "a=b",
        "back\\slash",
        "line\nbreak\r\n",
        "tab\t",
        "nul\0",
        "\x1b[31mred",
        "next\x85line\u2028separator",
        "ünïcödé",
        "\ud800 alone",
    ],
)
def test_awkward_values_stay_on_one_line_and_read_back(
    formatter: logging.Formatter, read: Read, value: str
) -> None:
    line = formatter.format(record(value, path=value))
    assert line.splitlines() == [line]
    assert "\x1b" not in line
    assert read(line)["msg"] == read(line)["path"] == value


@pytest.mark.parametrize(("formatter", "read"), FORMATS)
@given(value=st.text())
def test_any_text_stays_on_one_line_and_reads_back(
    formatter: logging.Formatter, read: Read, value: str
) -> None:
    line = formatter.format(record("%s", value, path=value))
    assert line.splitlines() == [line]
    assert read(line)["msg"] == read(line)["path"] == value


def raise_awkwardly() -> None:
    raise RuntimeError('two\nlines and a "quote"')


@pytest.mark.parametrize(("formatter", "read"), FORMATS)
def test_an_exception_is_a_field_of_its_line(formatter: logging.Formatter, read: Read) -> None:
    event = record("scan failed, which is a bug")
    try:
        raise_awkwardly()
    except RuntimeError:
        event.exc_info = sys.exc_info()
    line = formatter.format(event)
    assert line.splitlines() == [line]
    exception = read(line)["exception"]
    assert exception.startswith("Traceback (most recent call last):\n")
    assert exception.endswith('RuntimeError: two\nlines and a "quote"')


def test_a_value_without_a_json_type_is_written_as_text() -> None:
    line = JsonFormatter().format(record("listening", address=MOMENT))
    assert json.loads(line)["address"] == str(MOMENT)


@pytest.fixture
def _loggers_restored() -> Iterator[None]:
    root = logging.getLogger()
    handlers, level = root.handlers[:], root.level
    yield
    root.handlers[:] = handlers
    root.setLevel(level)


@pytest.mark.usefixtures("_loggers_restored")
def test_only_events_of_the_level_and_above_are_written(capsys: pytest.CaptureFixture[str]) -> None:
    set_up_logging("warning", "logfmt")
    logging.getLogger("exporter.serve.refresh").info("quiet")
    logging.getLogger("exporter.serve.refresh").warning("loud")
    assert [read_logfmt(line)["msg"] for line in capsys.readouterr().err.splitlines()] == ["loud"]


@pytest.mark.usefixtures("_loggers_restored")
def test_loggers_of_libraries_write_the_same_format(capsys: pytest.CaptureFixture[str]) -> None:
    set_up_logging("debug", "json")
    logging.getLogger("uvicorn.error").error("cannot %s", "answer")
    (line,) = capsys.readouterr().err.splitlines()
    event = read_json(line)
    assert (event["level"], event["logger"]) == ("error", "uvicorn.error")
    assert event["msg"] == "cannot answer"


@pytest.mark.usefixtures("_loggers_restored")
@pytest.mark.parametrize("name", ["httpx", "httpcore", "asyncio", "uvicorn"])
def test_details_of_libraries_are_not_logged(capsys: pytest.CaptureFixture[str], name: str) -> None:
    set_up_logging("debug", "logfmt")
    logging.getLogger(name).info("HTTP Request: GET https://registry.example.com/v2/")
    assert capsys.readouterr().err == ""


def test_a_lasting_problem_is_logged_hourly_and_its_end_once(
    caplog: pytest.LogCaptureFixture,
) -> None:
    now = [0.0]
    problem = ProblemLog(logging.getLogger("of a test"), "it works again", clock=lambda: now[0])
    with caplog.at_level(logging.INFO):
        problem.end()
        for now[0] in range(0, 7_200, 30):
            problem.record("it is gone", logging.ERROR)
            problem.record("it is closed")
        assert now[0] == 7_170
        problem.end()
        problem.end()
        problem.record("it is gone", logging.ERROR)
    logged = [(each.levelname, each.getMessage()) for each in caplog.records]
    both = [("ERROR", "it is gone"), ("WARNING", "it is closed")]
    assert logged == [*both, *both, ("INFO", "it works again"), ("ERROR", "it is gone")]
    assert vars(caplog.records[4])["fields"] == {"seconds": 7_170}


def test_problems_that_differ_are_all_logged_and_not_all_remembered(
    caplog: pytest.LogCaptureFixture,
) -> None:
    problem = ProblemLog(logging.getLogger("of a test"), "it works again")
    with caplog.at_level(logging.WARNING):
        for number in range(1_000):
            problem.record(f"problem {number}")
    assert len(caplog.records) == 1_000
    assert len(problem._due) <= 100  # noqa: SLF001 - this test is about the bound
