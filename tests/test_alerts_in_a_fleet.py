"""Every alert, with registries of equal job and instance that one more label tells apart.

The tests are those of ``alerts/tests``, rewritten: all targets get one more label, and each of them
gets twins, which have another value of that label or lack it.
"""

import json
import re
import subprocess
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any

import pytest
import yaml

from alerts.__main__ import REPOSITORY
from alerts.grafana import inline
from alerts.rules import RULES, read_rules
from tests.runbook_pages import PAGES
from tests.servers import require

ALERTS = tuple(read_rules().alerts())
RECORDED = read_rules().recordings()
NAMES = sorted({each.short_name for each in ALERTS})
THRESHOLD = "docker_registry_alert_threshold"
EXPLORER = "https://example.com/"
LABEL = "team"
OWN = "middle"
TWINS = ("aaa", "", "zzz")
"""One is sorted before, one after the registry itself; one lacks the label."""

Group = dict[str, Any]


def groups_of(name: str) -> list[Group]:
    document = yaml.safe_load((RULES.parent / f"tests/{name}.test.yml").read_text("utf-8"))
    groups: list[Group] = document["tests"]
    return groups


def labelled(series: str, value: str) -> str:
    """Return a series with one more label, and with an explorer of its own."""
    assert series.endswith("}")
    series = explorer_of(series, value)
    return f'{series[:-1]},{LABEL}="{value}"}}' if value else series


def explorer_of(text: str, value: str) -> str:
    """Return a text in which the explorers have the addresses of one registry."""
    return text.replace(EXPLORER, f"{EXPLORER}{value or 'none'}/")


def larger(values: str) -> str:
    """Return values as promtool reads them, each of them eleven times as large."""

    def one(part: str) -> str:
        found = re.fullmatch(r"(-?[\d.]+)(?:([+-])([\d.]+))?(x\d+)?", part)
        if found is None:
            return part
        first, sign, step, times = found.groups()
        return (
            f"{11 * float(first):.6f}{f'{sign}{11 * float(step):.6f}' if sign else ''}{times or ''}"
        )

    return " ".join(map(one, values.split()))


def expected_of(case: Mapping[str, Any], value: str) -> Iterator[dict[str, Any]]:
    """Yield the alerts of one registry. That there is no exporter at all is one alert for all."""
    for alert in case.get("exp_alerts", ()):
        labels = alert["exp_labels"]
        if "instance" in labels:
            added = {LABEL: value} if value else {}
            own = {
                each: explorer_of(text, value) for each, text in alert["exp_annotations"].items()
            }
            yield alert | {"exp_labels": labels | added, "exp_annotations": own}
        elif value == OWN:
            yield alert


def with_equals(group: Group) -> Group:
    """Return a test in which each registry has twins with the same numbers: all of them alert."""
    values = (OWN, *TWINS)
    return group | {
        "input_series": [
            {"series": labelled(each["series"], value), "values": each["values"]}
            for each in group["input_series"]
            for value in values
        ],
        "alert_rule_test": [
            case | {"exp_alerts": [alert for value in values for alert in expected_of(case, value)]}
            for case in group["alert_rule_test"]
        ],
    }


def with_larger(group: Group, conditions: set[str]) -> Group:
    """Return a test in which each registry has twins that have larger numbers and never alert."""
    series = []
    for each in group["input_series"]:
        series.append({"series": labelled(each["series"], OWN), "values": each["values"]})
        if each["series"].partition("{")[0] not in conditions:
            series += [
                {"series": labelled(each["series"], value), "values": larger(each["values"])}
                for value in TWINS
            ]
    return group | {
        "input_series": series,
        "alert_rule_test": [
            case | {"exp_alerts": list(expected_of(case, OWN))} for case in group["alert_rule_test"]
        ],
    }


def conditions_of(name: str) -> set[str]:
    """Return the metrics without which the alert cannot fire."""
    exprs = [inline(each.expr, RECORDED) for each in ALERTS if each.short_name == name]
    if all(THRESHOLD in each for each in exprs):
        return {THRESHOLD}
    return {found for each in exprs for found in re.findall(r"docker_registry_\w+|\bup\b", each)}


def failures_of(groups: list[Group], directory: Path) -> str:
    document = {"rule_files": [str(RULES)], "evaluation_interval": "1m", "tests": groups}
    path = directory / "test.yml"
    path.write_text(json.dumps(document))
    command = [require("promtool"), "test", "rules", str(path)]
    done = subprocess.run(command, capture_output=True, text=True, check=False)
    return done.stdout + done.stderr if done.returncode else ""


@pytest.mark.parametrize("name", NAMES)
def test_registries_that_one_label_tells_apart_alert_each_for_itself(
    name: str, tmp_path: Path
) -> None:
    assert failures_of([with_equals(each) for each in groups_of(name)], tmp_path) == ""


@pytest.mark.parametrize("name", NAMES)
def test_an_alert_has_no_numbers_of_a_registry_that_one_label_tells_apart(
    name: str, tmp_path: Path
) -> None:
    conditions = conditions_of(name)
    groups = [with_larger(each, conditions) for each in groups_of(name)]
    assert failures_of(groups, tmp_path) == ""


def test_a_label_with_special_characters_is_matched_literally(tmp_path: Path) -> None:
    text = json.dumps([with_larger(each, {THRESHOLD}) for each in groups_of("StorageAlmostFull")])
    groups = json.loads(text.replace(OWN, "a $1 {.*} %d é"))
    assert failures_of(groups, tmp_path) == ""


# What no rule and no query may contain


def texts() -> Iterator[tuple[str, str]]:
    """Yield everything that contains PromQL, with its place."""
    yield from RECORDED.items()
    for alert in ALERTS:
        yield alert.short_name, alert.expr
        yield from (
            (f"{alert.short_name}: {each}", text) for each, text in alert.annotations.items()
        )
    yield from ((page.name, page.read_text("utf-8")) for page in PAGES)
    for path in (REPOSITORY / "README.md", *(REPOSITORY / "docs").glob("*.md")):
        yield path.name, path.read_text("utf-8")
    for path in (REPOSITORY / "dashboards").glob("*.json"):
        yield path.name, path.read_text("utf-8")


# A target that is gone is compared with new targets of its job, whatever their other labels are.
ONLY_THERE = ("ExporterDown", {"on (job)", "by (job)"})
BY_TARGET = re.compile(r"\b(?:on|by|group_left|group_right) ?\([^)]*\b(?:job|instance)\b[^)]*\)")


def test_nothing_joins_or_sums_by_labels_of_the_target() -> None:
    place, allowed = ONLY_THERE
    found = {(where, each) for where, text in texts() for each in BY_TARGET.findall(text)}
    assert found == {(place, each) for each in allowed}
