"""A dashboard as bands of panels, and its JSON: places, identities, variables and links."""

import json
from collections.abc import Iterator, Mapping
from dataclasses import dataclass

from dashboards.expressions import series
from dashboards.fields import DATASOURCE, Json, JsonObject
from dashboards.panels import Panel

WIDTH = 24
# Grafana 9.4's: it imports no later one, and all later ones bring this one up to theirs.
SCHEMA_VERSION = 37
TAG = "docker-registry"

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
    """Panels side by side, all as high as the band.

    Attributes:
        panels: from left to right; their widths add up to 24.
        height: in Grafana's units of 38 pixels.
        heading: a line above it that folds it and the bands below, up to the next heading.

    """

    panels: tuple[Panel, ...]
    height: int
    heading: str | None = None

    def __post_init__(self) -> None:
        """Refuse a band that leaves a hole or breaks into two."""
        width = sum(panel.width for panel in self.panels)
        if width != WIDTH:
            titles = ", ".join(panel.title for panel in self.panels)
            raise ValueError(f"{titles}: together {width} wide, not {WIDTH}")


@dataclass(frozen=True, slots=True)
class Variable:
    """A choice above the dashboard, of the values that a label has.

    Attributes:
        name: the label, and what queries call it.
        metric: the selector of the series whose label is read.
        several: any number of values can be chosen, and are all at first.

    """

    name: str
    metric: str
    several: bool = True

    def to_json(self) -> JsonObject:
        """Give it as one of the dashboard's variables."""
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
        uid: its identity in Grafana and in links to it, which never changes.
        description: the question it answers.
        bands: from top to bottom.
        file: what its JSON is called.
        variables: beside the data source.
        since: how long back it looks at first, such as ``7d``.

    """

    uid: str
    description: str
    bands: tuple[Band, ...]
    file: str
    variables: tuple[Variable, ...] = (JOB, INSTANCE)
    since: str = "24h"

    def render(self) -> str:
        """Give it as the text of a JSON file."""
        return json.dumps(self.to_json(), indent=2) + "\n"

    def to_json(self) -> JsonObject:
        """Give it as Grafana imports it."""
        variables = [_CHOOSE_DATASOURCE, *(each.to_json() for each in self.variables)]
        return {
            "annotations": {"list": []},
            "description": self.description,
            "editable": False,
            "fiscalYearStartMonth": 0,
            "graphTooltip": 1,
            "id": None,
            "links": [_link_to(uid) for uid in TITLES if uid != self.uid],
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
        """Give its panels and headings with their identities and places, from top to bottom."""
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
