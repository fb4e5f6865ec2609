"""When StorageFillingUp fires, and when not: courses of a disk's space, in promtool.

All courses run in one promtool test, each as an instance of its own, with a sample a minute and the
default thresholds. The disk has 100 GiB.
"""

import json
import math
import random
import re
import subprocess
from collections.abc import Callable, Iterable
from dataclasses import dataclass, field
from pathlib import Path

import pytest

from alerts.rules import RULES
from exporter.settings.alert_thresholds import AlertSettings
from tests.servers import require

GIB = 1024**3
HOUR = 60
MINUTES = 16 * HOUR
ONSET = 7 * HOUR
"""Before this minute nothing changes, unless a course says so."""

Used = Callable[[int], float]
"""GiB written since the beginning, by minute."""


def steps(size: float, *minutes: int) -> Used:
    """Return a course that grows by ``size`` GiB in each of these minutes."""
    return lambda minute: size * sum(minute >= each for each in minutes)


def hourly(size: float, first: int = ONSET, every: int = HOUR) -> Used:
    """Return a course that grows by ``size`` GiB every hour."""
    return steps(size, *range(first, MINUTES, every))


def ramp(per_hour: float, begin: int = ONSET, end: int = MINUTES) -> Used:
    """Return a course that grows steadily from ``begin`` to ``end``."""
    return lambda minute: per_hour * max(0, min(minute, end) - begin) / HOUR


def both(*courses: Used) -> Used:
    """Return the sum of several courses."""
    return lambda minute: sum(each(minute) for each in courses)


@dataclass(frozen=True, slots=True)
class Course:
    """The space of a disk, minute by minute.

    Attributes:
        name: what happens.
        free: GiB available at first.
        used: GiB written since, by minute.
        missing: minutes without a sample.

    """

    name: str
    free: float
    used: Used
    missing: frozenset[int] = field(default=frozenset())

    def available(self, minute: int) -> float:
        """Return the available GiB."""
        return max(0.0, self.free - self.used(minute))

    def samples(self) -> str:
        """Return the bytes available, as promtool reads them."""
        return " ".join(
            "_" if each in self.missing else str(round(GIB * self.available(each)))
            for each in range(MINUTES)
        )


PUSH = 5.0
STEP = 5


def noise(minute: int) -> float:
    """Return the GiB of logs and temporary files: other every minute, the same in every run."""
    return random.Random(minute).uniform(-0.2, 0.2)  # noqa: S311 - no secret


SILENT = (
    Course("one push", 30, steps(PUSH, ONSET)),
    Course("one push on a fuller disk", 8, steps(PUSH, ONSET)),
    Course("a push larger than half of what is free", 30, steps(20, ONSET)),
    Course("a push that takes ten minutes", 30, ramp(30, ONSET, ONSET + 10)),
    Course("a push that takes half an hour", 30, ramp(10, ONSET, ONSET + 30)),
    Course(
        "a push and its clean-up after five minutes",
        30,
        both(steps(PUSH, ONSET), steps(-PUSH, ONSET + 5)),
    ),
    Course(
        "a push and its clean-up after an hour",
        30,
        both(steps(PUSH, ONSET), steps(-PUSH, ONSET + HOUR)),
    ),
    Course(
        "a push and its clean-up after three hours",
        30,
        both(steps(PUSH, ONSET), steps(-PUSH, ONSET + 3 * HOUR)),
    ),
    Course(
        "a push and the clean-up of half of it",
        30,
        both(steps(PUSH, ONSET), steps(-PUSH / 2, ONSET + 40)),
    ),
    Course(
        "a push every eight hours with its clean-up",
        30,
        lambda minute: PUSH if minute % 480 < 60 else 0.0,
    ),
    Course("three pushes within one hour, then none", 30, steps(2, ONSET, ONSET + 20, ONSET + 45)),
    Course("six pushes within one hour, then none", 30, steps(1, *range(ONSET, ONSET + HOUR, 10))),
    Course(
        "a push before a restart of ten minutes",
        30,
        steps(PUSH, ONSET),
        frozenset(range(ONSET + 5, ONSET + 15)),
    ),
    Course(
        "a push during a restart", 30, steps(PUSH, ONSET), frozenset(range(ONSET - 10, ONSET + 10))
    ),
    Course(
        "a push after two hours without samples",
        30,
        steps(PUSH, ONSET),
        frozenset(range(ONSET - 120, ONSET - 3)),
    ),
    Course("noise", 30, noise),
    Course("a push with noise", 30, both(steps(PUSH, ONSET), noise)),
    Course("a push soon after the first sample", 30, steps(PUSH, 40), frozenset(range(20))),
    Course("two pushes an hour apart", 30, steps(PUSH, ONSET, ONSET + HOUR)),
    Course("two pushes two hours apart", 30, steps(PUSH, ONSET, ONSET + 2 * HOUR)),
    Course("three pushes within 70 minutes", 30, steps(3, ONSET, ONSET + 35, ONSET + 70)),
    Course("a push of nearly all that is free", 30, steps(24, ONSET)),
    Course(
        "pushes of a night, all cleaned up",
        30,
        both(steps(4, ONSET, ONSET + 90), steps(-8, ONSET + 150)),
    ),
    Course("four nightly builds of 1 GiB", 30, steps(1, *range(ONSET, ONSET + 6 * HOUR, 90))),
    Course(
        "a backup that fills for two hours and is removed",
        38,
        both(ramp(4, ONSET, ONSET + 120), steps(-8, ONSET + 130)),
    ),
    Course("a disk that gets emptier", 30, ramp(-1, 0)),
    Course("a steep fall above 40 % available", 90, ramp(5, ONSET, ONSET + 9 * HOUR)),
    Course(
        "a push every other hour and a clean-up after each",
        30,
        lambda minute: PUSH if minute % 120 < 60 else 0.0,
    ),
)


@dataclass(frozen=True, slots=True)
class Filling:
    """A course that must alert.

    Attributes:
        course: what happens.
        by: the minute by which it must be critical.

    """

    course: Course
    by: int


FILLING = (
    Filling(Course("steady growth that fills the disk in 20 hours", 30, ramp(1.5, 0)), 8 * HOUR),
    Filling(Course("steady growth with noise", 30, both(ramp(1.5, 0), noise)), 8 * HOUR),
    Filling(
        Course(
            "steady growth with restarts",
            30,
            ramp(1.5, 0),
            frozenset(range(60, 1000, 90)) | frozenset(range(61, 1000, 90)),
        ),
        8 * HOUR,
    ),
    Filling(Course("a step every hour", 30, hourly(2, 30)), 8 * HOUR),
    Filling(Course("a step every hour that begins now", 30, hourly(2)), ONSET + 7 * HOUR),
    Filling(Course("a large step every hour that begins now", 30, hourly(5)), ONSET + 4 * HOUR),
    Filling(
        Course("growth that begins now and fills the disk in three hours", 30, ramp(10)),
        ONSET + 2 * HOUR + 15,
    ),
    Filling(Course("the same in two hours", 30, ramp(15)), ONSET + 105),
    Filling(
        Course("growth that begins now and fills the disk in ten hours", 30, ramp(3)),
        ONSET + 6 * HOUR,
    ),
    Filling(
        Course(
            "growth that slows down but fills the disk",
            30,
            lambda minute: 32 * (1 - math.exp(-max(0, minute - ONSET) / 180)),
        ),
        ONSET + 5 * HOUR,
    ),
    Filling(Course("growth after a push", 30, both(steps(PUSH, HOUR), ramp(8))), ONSET + 150),
)
ALL = (*SILENT, *(each.course for each in FILLING))


@pytest.fixture(scope="module")
def fired(tmp_path_factory: pytest.TempPathFactory) -> dict[str, list[int]]:
    """Return the minutes in which each course is critical."""
    return critical_minutes(ALL, tmp_path_factory.mktemp("courses"))


def critical_minutes(courses: Iterable[Course], directory: Path) -> dict[str, list[int]]:
    """Return the minutes in which the alert is critical, by course, as promtool evaluates it."""
    limits = AlertSettings().thresholds(scan_interval=300)
    own = [each for each in limits if each.alert == "StorageFillingUp"]
    series = []
    for each in courses:
        labels = f'job="registry-storage",instance="{each.name}"'
        values = {
            f"docker_registry_filesystem_avail_bytes{{{labels}}}": each.samples(),
            f"docker_registry_filesystem_size_bytes{{{labels}}}": f"{100 * GIB}x{MINUTES}",
        }
        for limit in own:
            name = f'alert="{limit.alert}",severity="{limit.severity}"'
            values[f"docker_registry_alert_threshold{{{labels},{name}}}"] = (
                f"{limit.value}x{MINUTES}"
            )
        series += [{"series": name, "values": value} for name, value in values.items()]
    # promtool prints the samples that a query returned and that nobody expected.
    firing = 'alertname="DockerRegistryStorageFillingUp",alertstate="firing",severity="critical"'
    count = f"count_over_time(ALERTS{{{firing}}}[{STEP}m])"
    test = {
        "interval": "1m",
        "input_series": series,
        "promql_expr_test": [
            {"expr": count, "eval_time": f"{minute}m", "exp_samples": []}
            for minute in range(0, MINUTES, STEP)
        ],
    }
    document = {"rule_files": [str(RULES)], "evaluation_interval": "1m", "tests": [test]}
    path = directory / "test.yml"
    path.write_text(json.dumps(document))
    command = [require("promtool"), "test", "rules", str(path)]
    done = subprocess.run(command, capture_output=True, text=True, check=False)
    return _minutes(done.stdout + done.stderr)


def _minutes(output: str) -> dict[str, list[int]]:
    """Read, from what promtool prints, in which minutes an instance is in the result."""
    found: dict[str, list[int]] = {}
    minute = 0
    for line in output.splitlines():
        if time := re.search(r", time: (?:(\d+)h)?(?:(\d+)m)?", line):
            minute = 60 * int(time[1] or 0) + int(time[2] or 0)
        for name in re.findall(r'instance="([^"]*)"', line):
            found.setdefault(name, []).append(minute)
    return found


@pytest.mark.parametrize("course", SILENT, ids=lambda each: each.name)
def test_what_does_not_fill_the_disk_is_never_critical(
    course: Course, fired: dict[str, list[int]]
) -> None:
    assert fired.get(course.name, []) == []


@pytest.mark.parametrize("filling", FILLING, ids=lambda each: each.course.name)
def test_what_fills_the_disk_is_critical_in_time_and_before_it_is_full(
    filling: Filling, fired: dict[str, list[int]]
) -> None:
    minutes = fired.get(filling.course.name, [])
    assert minutes
    assert minutes[0] <= filling.by
    assert filling.course.available(minutes[0]) > 0
