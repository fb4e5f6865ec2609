"""A dashboard as bands of panels, and its JSON: positions, ids, variables and links."""

import json
from collections.abc import Iterator, Mapping
from dataclasses import dataclass

from dashboards.expressions import series
from dashboards.fields import DATASOURCE, Json, JsonObject
from dashboards.panels import Panel

WIDTH = 24
# The schema of Grafana 9.4, which imports no later one. Later Grafana versions migrate it.
SCHEMA_VERSION = 37
TAG = "docker-registry"
DOCS = "https://github.com/registry-storage-exporter/registry-storage-exporter/blob/main/docs"

STORAGE = "registry-storage"
REPOSITORY = "registry-repository"
EXPORTER = "registry-exporter"
TITLES: Mapping[str, str] = {
    STORAGE: "Registry storage",
    REPOSITORY: "Registry repository",
    EXPORTER: "Registry storage exporter",
}


@dataclass(frozen=True, slots=True)
class Band:
    """Panels side by side, each as high as the band.

    Attributes:
        panels: from left to right; their widths add up to 24.
        height: in Grafana's units of 38 pixels.
        heading: title of a row above the band. The row folds this band and the bands below it,
            up to the next heading.

    """

    panels: tuple[Panel, ...]
    height: int
    heading: str | None = None

    def __post_init__(self) -> None:
        """Reject a band that leaves a gap or wraps onto a second line."""
        width = sum(panel.width for panel in self.panels)
        if width != WIDTH:
            titles = ", ".join(panel.title for panel in self.panels)
            raise ValueError(f"{titles}: together {width} wide, not {WIDTH}")


@dataclass(frozen=True, slots=True)
class Variable:
    """A variable at the top of the dashboard, to choose among the values of a label.

    Attributes:
        name: the label, and the variable's name in queries.
        metric: the selector of the series whose label is read.
        several: whether several values can be chosen; all of them are chosen at first.

    """

    name: str
    metric: str
    several: bool = True

    def to_json(self) -> JsonObject:
        """Return the variable as Grafana imports it."""
        query = f"label_values({self.metric}, {self.name})"
        shared: JsonObject = {
            "datasource": DATASOURCE,
            "definition": query,
            "hide": 0,
            "includeAll": self.several,
            "label": self.name.capitalize(),
            "multi": self.several,
            "name": self.name,
            "options": [],
            "query": {"query": query, "refId": f"variable-{self.name}"},
            "refresh": 2,
            "regex": "",
            "skipUrlSync": False,
            "sort": 1,
            "type": "query",
        }
        if not self.several:
            return shared | {"current": {}}
        everything: JsonObject = {"selected": True, "text": ["All"], "value": ["$__all"]}
        return shared | {"allValue": ".+", "current": everything}


JOB = Variable("job", "docker_registry_exporter_build_info")
INSTANCE = Variable("instance", 'docker_registry_exporter_build_info{job=~"$job"}')
ONE_REPOSITORY = Variable("repository", series("repository_tags"), several=False)

_TARGETS = f"query_result({series('exporter_build_info')})"
_LEGEND: JsonObject = {
    "current": {"selected": True, "text": "instance", "value": "instance"},
    "datasource": DATASOURCE,
    "definition": _TARGETS,
    "hide": 0,
    "includeAll": False,
    "label": "Legend",
    "multi": False,
    "name": "legend",
    "options": [],
    "query": {"query": _TARGETS, "refId": "variable-legend"},
    "refresh": 2,
    # the names of all labels of the exporters' targets, whatever they are
    "regex": r'/\b(?!version=|python_version=)(\w+)="/g',
    "skipUrlSync": False,
    "sort": 1,
    "type": "query",
}
"""The label that legends show: two exporters may differ only by a label that an operator added."""

_ADDRESSED = series("explorer_info")
_EXPLORERS = (
    f"query_result({_ADDRESSED} or label_replace(absent({_ADDRESSED}), "
    f'"url", "{DOCS}/web.md#links-to-the-explorer", "", ""))'
)
_EXPLORER: JsonObject = {
    "current": {},
    "datasource": DATASOURCE,
    "definition": _EXPLORERS,
    "hide": 2,
    "includeAll": False,
    "label": "Explorer",
    "multi": False,
    "name": "explorer",
    "options": [],
    "query": {"query": _EXPLORERS, "refId": "variable-explorer"},
    "refresh": 2,
    "regex": '/\\burl="([^"]+)"/',
    "skipUrlSync": True,
    "sort": 1,
    "type": "query",
}
"""The address of the explorer of the first exporter that is chosen and has one.

If none has one, the page that says how to set it: Grafana cannot hide a link.
"""

_CHOOSE_DATASOURCE: JsonObject = {
    "current": {},
    "hide": 0,
    "includeAll": False,
    "label": "Data source",
    "multi": False,
    "name": "datasource",
    "options": [],
    "query": "prometheus",
    "refresh": 1,
    "regex": "",
    "skipUrlSync": False,
    "type": "datasource",
}


@dataclass(frozen=True, slots=True)
class Dashboard:
    """A page of panels.

    Attributes:
        uid: its id in Grafana and in links to it, which never changes.
        description: the question it answers.
        bands: from top to bottom.
        file: the name of its JSON file.
        variables: all variables except the data source, the legend's label and the explorer.
        since: the initial time range, up to now, such as ``7d``.
        page: the explorer's page that it links to; empty for the first one.

    """

    uid: str
    description: str
    bands: tuple[Band, ...]
    file: str
    variables: tuple[Variable, ...] = (JOB, INSTANCE)
    since: str = "24h"
    page: str = ""

    def render(self) -> str:
        """Return the dashboard as the text of a JSON file."""
        return json.dumps(self.to_json(), indent=2) + "\n"

    def to_json(self) -> JsonObject:
        """Return the dashboard as Grafana imports it."""
        chosen = [each.to_json() for each in self.variables]
        variables = [_CHOOSE_DATASOURCE, *chosen, _LEGEND, _EXPLORER]
        return {
            "annotations": {"list": []},
            "description": self.description,
            "editable": False,
            "fiscalYearStartMonth": 0,
            "graphTooltip": 1,
            "id": None,
            "links": [
                *(_link_to(uid) for uid in TITLES if uid != self.uid),
                _link_to_explorer(self.page),
            ],
            "panels": list(self.placed()),
            "refresh": "1m",
            "schemaVersion": SCHEMA_VERSION,
            "tags": [TAG],
            "templating": {"list": variables},
            "time": {"from": f"now-{self.since}", "to": "now"},
            "timepicker": {},
            "timezone": "",
            "title": TITLES[self.uid],
            "uid": self.uid,
            "version": 1,
            "weekStart": "",
        }

    def placed(self) -> Iterator[JsonObject]:
        """Return the panels and headings with their ids and positions, from top to bottom."""
        identity = top = 0
        for band in self.bands:
            if band.heading is not None:
                identity += 1
                yield _heading(band.heading) | _place(identity, 0, top, WIDTH, 1)
                top += 1
            left = 0
            for panel in band.panels:
                identity += 1
                yield panel.to_json() | _place(identity, left, top, panel.width, band.height)
                left += panel.width
            top += band.height


def _place(identity: int, left: int, top: int, width: int, height: int) -> JsonObject:
    return {"gridPos": {"h": height, "w": width, "x": left, "y": top}, "id": identity}


def _heading(title: str) -> JsonObject:
    return {"collapsed": False, "panels": [], "title": title, "type": "row"}


def _link_to(uid: str) -> Json:
    return {
        "asDropdown": False,
        "icon": "dashboard",
        "includeVars": True,
        "keepTime": True,
        "tags": [],
        "targetBlank": False,
        "title": TITLES[uid],
        "tooltip": "",
        "type": "link",
        "url": f"/d/{uid}",
    }


def _link_to_explorer(page: str) -> Json:
    return {
        "asDropdown": False,
        "icon": "external link",
        "includeVars": False,
        "keepTime": False,
        "tags": [],
        "targetBlank": True,
        "title": "Explorer",
        "tooltip": "${explorer:raw}",
        "type": "link",
        "url": f"${{explorer:raw}}{page}",
    }
