"""The history's estimate of when the disk is full equals the alert's, as promtool evaluates it."""

import json
import math
import re
import subprocess

import pytest

from alerts.rules import RULES
from exporter.history.time_to_full import WINDOW_SECONDS, Sample, seconds_until_full
from tests.servers import require
from tests.test_filling_up import ALL, GIB, HOUR, MINUTES, Course

EXPRESSION = "instance:docker_registry_filesystem_avail_bytes:secondstofull"
EVERY = 5


def samples_of(course: Course) -> list[Sample]:
    """Return what promtool reads, too."""
    return [
        Sample(60 * minute, round(GIB * course.available(minute)))
        for minute in range(MINUTES)
        if minute not in course.missing
    ]


@pytest.fixture(scope="module")
def expected(tmp_path_factory: pytest.TempPathFactory) -> dict[str, dict[int, float]]:
    """Return the seconds until full by course and minute, as promtool evaluates the rule."""
    series = [
        {
            "series": f'docker_registry_filesystem_avail_bytes{{instance="{each.name}"}}',
            "values": each.samples(),
        }
        for each in ALL
    ]
    # promtool prints the samples that a query returned and that nobody expected.
    queries = [
        {"expr": EXPRESSION, "eval_time": f"{minute}m", "exp_samples": []}
        for minute in range(0, MINUTES, EVERY)
    ]
    test = {"interval": "1m", "input_series": series, "promql_expr_test": queries}
    document = {"rule_files": [str(RULES)], "evaluation_interval": "1m", "tests": [test]}
    path = tmp_path_factory.mktemp("forecasts") / "test.yml"
    path.write_text(json.dumps(document))
    command = [require("promtool"), "test", "rules", str(path)]
    done = subprocess.run(command, capture_output=True, text=True, check=False)
    found: dict[str, dict[int, float]] = {each.name: {} for each in ALL}
    minute = 0
    for line in (done.stdout + done.stderr).splitlines():
        if time := re.search(r", time: (?:(\d+)h)?(?:(\d+)m)?", line):
            minute = 60 * int(time[1] or 0) + int(time[2] or 0)
        for name, value in re.findall(r'instance="([^"]*)"\} ([^\s,]+)', line):
            found[name][minute] = float(value)
    return found


@pytest.mark.parametrize("course", ALL, ids=lambda each: each.name)
def test_the_estimate_equals_the_rule_of_the_alert(
    course: Course, expected: dict[str, dict[int, float]]
) -> None:
    samples = samples_of(course)
    for minute in range(0, MINUTES, EVERY):
        ours = seconds_until_full(samples, 60 * minute)
        theirs = expected[course.name].get(minute)
        if ours is None or theirs is None:
            assert ours == theirs, f"minute {minute}"
        else:
            assert math.isclose(ours, theirs, rel_tol=1e-6), f"minute {minute}"


def test_the_rule_is_tried_on_disks_that_fill_and_on_disks_that_do_not(
    expected: dict[str, dict[int, float]],
) -> None:
    assert sum(map(len, expected.values())) > 200
    assert not expected["noise"] or min(expected["noise"].values()) > 24 * HOUR * 60


def test_samples_before_the_window_count_for_nothing() -> None:
    course = next(
        each for each in ALL if each.name == "steady growth that fills the disk in 20 hours"
    )
    now = 60 * 600
    samples = samples_of(course)
    recent = [each for each in samples if each.at >= now - WINDOW_SECONDS]
    assert len(recent) < len(samples)
    assert seconds_until_full(recent, now) == seconds_until_full(samples, now)
    assert seconds_until_full(samples, now) is not None


def test_without_a_sample_of_the_last_minutes_nothing_is_known() -> None:
    samples = samples_of(next(each for each in ALL if each.name == "steady growth with restarts"))
    last = samples[-1].at
    assert seconds_until_full(samples, last) is not None
    assert seconds_until_full(samples, last + 301) is None
    assert seconds_until_full([], 0) is None
