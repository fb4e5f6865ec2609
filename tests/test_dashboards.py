"""The dashboards follow the rules of dashboard-linter, and all their links have a target."""

import json
import re
import shutil
from collections import Counter
from pathlib import Path
from typing import Any

import pytest

import dashboards
from dashboards.__main__ import DIRECTORY, main
from dashboards.layout import Band
from dashboards.panels import Stat, TimeSeries
from exporter.metrics.documentation import EVERY_METRIC
from exporter.metrics.instruments import INSTRUMENTS
from exporter.settings.alert_thresholds import AlertSettings
from tests.exporter_process import REPOSITORY
from tests.nested_values import values_of
from tests.runbook_pages import anchors_of

Json = dict[str, Any]

RENDERED: dict[str, Json] = {
    dashboard.file: json.loads((DIRECTORY / dashboard.file).read_text())
    for dashboard in dashboards.DASHBOARDS
}
UIDS = {dashboard["uid"] for dashboard in RENDERED.values()}
RUNBOOKS = (
    "https://github.com/registry-storage-exporter/registry-storage-exporter/blob/main/docs/runbooks"
)
ADDRESS_MISSING = f"{RUNBOOKS.removesuffix('runbooks')}web.md#links-to-the-explorer"
"""Where the link to the explorer leads if none has an address: Grafana cannot hide a link."""
TEMPLATED = {"type": "prometheus", "uid": "${datasource}"}
KINDS = {"stat", "gauge", "bargauge", "timeseries", "table"}
MOST_PANELS = 28
SCREEN_ROWS = 22
"""The rows in a window of 1080 pixels: a row takes 38, Grafana and the browser about 200."""

# The units in use here. Before adding one, look it up in
# https://github.com/grafana/grafana/blob/main/packages/grafana-data/src/valueFormats
UNITS = {"bytes", "dateTimeFromNow", "none", "opm", "percentunit", "reqps", "s", "short"}

NOT_OURS = {"up", "ALERTS", "process_cpu_seconds_total", "process_resident_memory_bytes"}
NOT_OURS |= {"process_start_time_seconds"}
HISTOGRAM = ("_bucket", "_sum", "_count")
OURS = {each.name for each in EVERY_METRIC} | {
    each.name + part for each in INSTRUMENTS if each.kind == "histogram" for part in HISTOGRAM
}
COUNTERS = {each.name for each in EVERY_METRIC if each.kind == "counter"}
COUNTERS |= {"process_cpu_seconds_total"}
COUNTERS |= {name for name in OURS if name.endswith(HISTOGRAM)}

_SELECTOR = re.compile(r"([a-zA-Z_][a-zA-Z0-9_]*)\{([^}]*)\}")
_GROUPING = re.compile(r"\b(by|on|group_left|group_right|ignoring|without) \([^)]*\)")
_WORD = re.compile(r"[a-zA-Z_:][a-zA-Z0-9_:]*")
_RATE = re.compile(r"\b(?:rate|increase|irate)\(([a-zA-Z0-9_]+)\{[^}]*\}\[([^\]]+)\]")
_WINDOW = re.compile(r"\[([^\]]+)\]")
_THRESHOLD = re.compile(r'alert="(\w+)",severity="(\w+)"')
_LINK = re.compile(r"^/d/([a-z-]+)(\?|$)")
_FUNCTIONS = {"sum", "max", "topk", "rate", "delta", "deriv", "changes", "time", "clamp_min",
              "clamp_max", "histogram_quantile", "and", "or", "unless", "offset", "d", "m", "h",
              "bool", "label_replace"}  # fmt: skip


def panels(dashboard: Json) -> list[Json]:
    """Return the panels, without the headings between them."""
    return [panel for panel in dashboard["panels"] if panel["type"] != "row"]


EVERY_PANEL = [
    pytest.param(panel, id=f"{name}: {panel['title']}")
    for name, dashboard in RENDERED.items()
    for panel in panels(dashboard)
]
EVERY_EXPRESSION = [
    pytest.param(target["expr"], id=f"{name}: {panel['title']} {target['refId']}")
    for name, dashboard in RENDERED.items()
    for panel in panels(dashboard)
    for target in panel["targets"]
]
every_dashboard = pytest.mark.parametrize("dashboard", RENDERED.values(), ids=list(RENDERED))
every_panel = pytest.mark.parametrize("panel", EVERY_PANEL)
every_expression = pytest.mark.parametrize("expr", EVERY_EXPRESSION)


def variables(dashboard: Json) -> dict[str, Json]:
    return {variable["name"]: variable for variable in dashboard["templating"]["list"]}


# The files


def test_the_files_match_what_the_modules_render() -> None:
    for dashboard in dashboards.DASHBOARDS:
        file = DIRECTORY / dashboard.file
        assert file.read_text() == dashboard.render(), "run `python -m dashboards`"
    assert {path.name for path in DIRECTORY.glob("*.json")} == set(RENDERED)


def test_check_reports_each_stale_or_missing_file_and_writing_fixes_it(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    for name in RENDERED:
        shutil.copy(DIRECTORY / name, tmp_path)
    assert main(["--check"], tmp_path) == 0
    (tmp_path / "exporter.json").write_text("{}")
    (tmp_path / "repository.json").unlink()
    assert main(["--check"], tmp_path) == 1
    assert capsys.readouterr().err == (
        f"{tmp_path.name}/repository.json is stale: run `python -m dashboards`\n"
        f"{tmp_path.name}/exporter.json is stale: run `python -m dashboards`\n"
    )
    assert (tmp_path / "exporter.json").read_text() == "{}"
    assert main([], tmp_path) == 0
    assert main(["--check"], tmp_path) == 0


@pytest.mark.parametrize("path", sorted(DIRECTORY.glob("*.py")), ids=lambda path: path.name)
def test_the_modules_are_small(path: Path) -> None:
    assert len(path.read_text().splitlines()) <= 350


def test_a_band_that_leaves_a_gap_is_rejected() -> None:
    panel = Stat(title="Alone", description="", queries=(), unit="none", width=20)
    with pytest.raises(ValueError, match="Alone: together 20 wide, not 24"):
        Band(panels=(panel,), height=4)


def test_a_line_for_an_alert_without_a_threshold_is_rejected() -> None:
    panel = TimeSeries(title="", description="", queries=(), unit="none", alert="APIDown")
    with pytest.raises(ValueError, match="APIDown is not an alert with a threshold"):
        panel.to_json()


# The dashboards


def test_uids_and_titles_that_links_rely_on_stay_the_same() -> None:
    assert {each["uid"]: each["title"] for each in RENDERED.values()} == {
        "registry-storage": "Registry storage",
        "registry-repository": "Registry repository",
        "registry-exporter": "Registry storage exporter",
    }


@every_dashboard
def test_a_dashboard_has_the_schema_of_grafana_9_4_and_is_read_only(dashboard: Json) -> None:
    assert dashboard["schemaVersion"] == 37
    assert dashboard["id"] is None
    assert dashboard["editable"] is False
    assert dashboard["graphTooltip"] == 1
    assert dashboard["tags"] == ["docker-registry"]
    # Schema 38 renamed displayMode to cellOptions. In a dashboard with schema 37, Grafana 9.4 and
    # later read only displayMode.
    assert "cellOptions" not in json.dumps(dashboard)


@every_dashboard
def test_the_data_source_is_a_variable_at_the_top(dashboard: Json) -> None:
    chosen = variables(dashboard)["datasource"]
    assert (chosen["type"], chosen["query"]) == ("datasource", "prometheus")
    assert chosen["label"] == "Data source"
    found = list(values_of(dashboard, "datasource"))
    assert len(found) > len(panels(dashboard))
    assert all(each == TEMPLATED for each in found)


@every_dashboard
@pytest.mark.parametrize("name", ["job", "instance"])
def test_job_and_instance_are_variables_at_the_top(dashboard: Json, name: str) -> None:
    variable = variables(dashboard)[name]
    assert variable["type"] == "query"
    assert variable["label"] == name.capitalize()
    assert variable["multi"]
    assert variable["includeAll"]
    assert variable["allValue"] == ".+"
    assert variable["refresh"] == 2  # refresh when the time range changes


@every_dashboard
def test_legends_show_the_instance_until_another_label_is_chosen(dashboard: Json) -> None:
    variable = variables(dashboard)["legend"]
    assert (variable["label"], variable["current"]["value"]) == ("Legend", "instance")
    assert not variable["multi"]
    assert not variable["includeAll"]


def test_variables_query_the_series_of_the_exporters() -> None:
    build_info = "docker_registry_exporter_build_info"
    explorer = 'docker_registry_explorer_info{job=~"$job",instance=~"$instance"}'
    expected = {
        "job": f"label_values({build_info}, job)",
        "instance": f'label_values({build_info}{{job=~"$job"}}, instance)',
        "legend": f'query_result({build_info}{{job=~"$job",instance=~"$instance"}})',
        "explorer": f"query_result({explorer} or label_replace(absent({explorer}), "
        f'"url", "{ADDRESS_MISSING}", "", ""))',
        "repository": 'label_values(docker_registry_repository_tags{job=~"$job",'
        'instance=~"$instance"}, repository)',
    }
    queried = {
        file: {
            name: variable["definition"]
            for name, variable in variables(dashboard).items()
            if variable["type"] == "query"
        }
        for file, dashboard in RENDERED.items()
    }
    assert queried.pop("repository.json") == expected
    del expected["repository"]
    assert all(each == expected for each in queried.values())


@every_dashboard
def test_panels_fill_the_width_and_do_not_overlap(dashboard: Json) -> None:
    cells: Counter[tuple[int, int]] = Counter()
    for panel in dashboard["panels"]:
        place = panel["gridPos"]
        for x in range(place["x"], place["x"] + place["w"]):
            cells.update((x, y) for y in range(place["y"], place["y"] + place["h"]))
    bottom = 1 + max(y for _, y in cells)
    assert cells == Counter({(x, y): 1 for x in range(24) for y in range(bottom)})


@every_dashboard
def test_panels_have_unique_ids_and_titles(dashboard: Json) -> None:
    for key in ("id", "title"):
        found = [panel[key] for panel in dashboard["panels"]]
        assert len(set(found)) == len(found)
    assert len(panels(dashboard)) <= MOST_PANELS


def test_the_most_important_panels_are_on_the_first_screen() -> None:
    first = {
        panel["title"]
        for panel in panels(RENDERED["registry-storage.json"])
        if panel["gridPos"]["y"] + panel["gridPos"]["h"] <= SCREEN_ROWS
    }
    how_full = {"Filesystem used", "Space available", "Store", "Budget used"}
    when_full = {"Full in", "Time until full"}
    what_grows = {"Growth in 24 h", "Bytes by state", "Fastest growing repositories"}
    owners = {"Largest repositories", "Tagged bytes by use"}
    deletable = {"Reclaimable by garbage collection", "Orphaned"}
    assert first >= how_full | when_full | what_grows | owners | deletable
    assert first >= {"Broken", "Firing alerts"}


# The panels


@every_panel
def test_a_panel_has_a_title_a_description_a_unit_and_a_query(panel: Json) -> None:
    assert panel["type"] in KINDS
    assert panel["title"]
    assert panel["description"].endswith(".")
    assert panel["fieldConfig"]["defaults"]["unit"] in UNITS
    overridden = {
        each["value"]
        for properties in values_of(panel["fieldConfig"]["overrides"], "properties")
        for each in properties
        if each["id"] == "unit"
    }
    assert overridden <= UNITS
    assert panel["targets"]
    refs = [target["refId"] for target in panel["targets"]]
    assert len(set(refs)) == len(refs)


@every_panel
def test_a_legend_names_the_exporter_of_each_line(panel: Json) -> None:
    if panel["type"] == "table":
        (organize,) = (each for each in panel["transformations"] if each["id"] == "organize")
        assert "instance" in organize["options"]["indexByName"]
        assert not organize["options"]["excludeByName"].get("instance")
    else:
        assert all("{{$legend}}" in target["legendFormat"] for target in panel["targets"])


@every_panel
def test_a_panel_queries_a_range_only_if_it_draws_one(panel: Json) -> None:
    now = panel["type"] in {"table", "bargauge"}
    form = "table" if panel["type"] == "table" else "time_series"
    for target in panel["targets"]:
        assert (target["instant"], target["range"], target["format"]) == (now, not now, form)


@every_panel
def test_overrides_refer_to_existing_queries_and_columns(panel: Json) -> None:
    refs = {target["refId"] for target in panel["targets"]}
    legends = [target["legendFormat"] for target in panel["targets"]]
    columns = set()
    if panel["type"] == "table":
        (organize,) = (each for each in panel["transformations"] if each["id"] == "organize")
        names = set(organize["options"]["indexByName"])
        columns = {organize["options"]["renameByName"].get(name, name) for name in names}
        values = {"Value"} if len(refs) == 1 else {f"Value #{ref}" for ref in refs}
        assert names | set(organize["options"]["excludeByName"]) >= values
        assert {sort["displayName"] for sort in panel["options"]["sortBy"]} <= columns
    for override in panel["fieldConfig"]["overrides"]:
        matcher, which = override["matcher"]["id"], override["matcher"]["options"]
        if matcher == "byFrameRefID":
            assert which in refs
        elif matcher == "byName":
            assert which in columns
        else:
            assert matcher == "byRegexp"
            word = which.removeprefix("/^").removesuffix(" /")
            assert any(legend.startswith((f"{word} ", "{{")) for legend in legends)


# The expressions


@every_expression
def test_every_metric_exists(expr: str) -> None:
    named = {name for name, _ in _SELECTOR.findall(expr)}
    assert named
    assert named <= OURS | NOT_OURS
    # Nothing is selected without braces, because there would be no place for a matcher.
    rest = _GROUPING.sub("", re.sub(r"\[[^\]]*\]", "", _SELECTOR.sub("", expr)))
    rest = re.sub(r'"[^"]*"', "", rest)
    assert set(_WORD.findall(rest)) <= _FUNCTIONS


@every_expression
def test_every_selector_is_limited_to_the_chosen_job_and_instance(expr: str) -> None:
    for name, matchers in _SELECTOR.findall(expr):
        assert matchers.startswith('job=~"$job",instance=~"$instance"'), name


@every_expression
def test_counters_are_only_used_as_rates_over_the_rate_interval(expr: str) -> None:
    rated = _RATE.findall(expr)
    assert {name for name, _ in rated} <= COUNTERS
    assert all(window == "$__rate_interval" for _, window in rated)
    counters = [name for name, _ in _SELECTOR.findall(expr) if name in COUNTERS]
    assert len(counters) == len(rated)


@every_expression
def test_other_windows_are_those_of_the_alerts_and_titles(expr: str) -> None:
    estimate = {"105m", "75m", "31m"}  # of StorageFillingUp
    assert set(_WINDOW.findall(expr)) <= {"$__rate_interval", "1h", "1d"} | estimate


@every_expression
def test_sums_and_joins_keep_exporters_apart_whatever_labels_their_targets_have(expr: str) -> None:
    assert re.findall(r"\b(?:by|on) ?\(", expr) == []
    assert re.findall(r"\b(?:sum|max|min|count)\b(?! without )", expr) == []
    for labels in re.findall(r"\b(?:without|ignoring) \(([^)]*)\)", expr):
        assert set(labels.split(", ")) & {"job", "instance"} == set()


# Thresholds and links


def test_exactly_the_existing_thresholds_are_drawn() -> None:
    drawn = {
        pair
        for dashboard in RENDERED.values()
        for panel in panels(dashboard)
        for target in panel["targets"]
        for pair in _THRESHOLD.findall(target["expr"])
    }
    existing = {(each.alert, each.severity) for each in AlertSettings().thresholds(300)}
    assert drawn == existing


@every_panel
def test_a_threshold_is_a_dashed_line_in_the_colour_of_its_severity(panel: Json) -> None:
    severities = {
        target["refId"]: found[2]
        for target in panel["targets"]
        if (found := _THRESHOLD.search(target["expr"])) is not None
    }
    dashed = {}
    for override in panel["fieldConfig"]["overrides"]:
        properties = {each["id"]: each["value"] for each in override["properties"]}
        if "custom.lineStyle" in properties:
            assert properties["custom.lineStyle"]["fill"] == "dash"
            dashed[override["matcher"]["options"]] = properties["color"]["fixedColor"]
    colors = {"warning": "orange", "critical": "red"}
    assert dashed == {ref: colors[severity] for ref, severity in severities.items()}


@every_dashboard
def test_links_lead_to_the_other_dashboards_and_keep_time_and_choices(dashboard: Json) -> None:
    found = []
    *inside, _ = dashboard["links"]
    for link in inside:
        assert link["keepTime"]
        assert link["includeVars"]
        match = _LINK.match(link["url"])
        assert match is not None
        found.append(match[1])
    assert sorted([*found, dashboard["uid"]]) == sorted(UIDS)


@every_dashboard
def test_the_last_link_leads_to_the_explorer_or_to_how_to_set_its_address(dashboard: Json) -> None:
    link = dashboard["links"][-1]
    page = {"registry-repository": "/repositories/${repository}"}.get(dashboard["uid"], "")
    assert (link["title"], link["url"]) == ("Explorer", f"${{explorer:raw}}{page}")
    assert not link["includeVars"]
    explorer = variables(dashboard)["explorer"]
    assert (explorer["hide"], explorer["skipUrlSync"]) == (2, True)
    path, _, anchor = ADDRESS_MISSING.removeprefix(
        RUNBOOKS.removesuffix("docs/runbooks")
    ).partition("#")
    assert anchor in anchors_of((REPOSITORY / path).read_text("utf-8"))


def test_links_of_values_lead_to_a_dashboard_a_runbook_or_the_explorer() -> None:
    urls = [
        link["url"]
        for dashboard in RENDERED.values()
        for properties in values_of(dashboard["panels"], "properties")
        for each in properties
        if each["id"] == "links"
        for link in each["value"]
    ]
    inside = [match[1] for url in urls if (match := _LINK.match(url)) is not None]
    assert inside == ["registry-repository"]
    explorer, runbook = (url for url in urls if not url.startswith("/d/"))
    assert explorer == "${__value.raw:raw}/repositories/${__data.fields.repository}"
    assert runbook == f"{RUNBOOKS}/${{__value.text}}.md"
    (repository,) = (url for url in urls if url.startswith("/d/registry-repository?"))
    for kept in (
        "${legend:queryparam}",
        "var-job=",
        "var-instance=",
        "var-repository=",
        "${__url_time_range}",
    ):
        assert kept in repository
