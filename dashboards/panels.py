"""The kinds of panels, each as the JSON that Grafana 9.4 to 13 import.

Where they stand, and the dashboard around them, is the business of ``dashboards.layout``.
"""

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import ClassVar

from dashboards.expressions import series
from dashboards.fields import (
    DATASOURCE,
    ORANGE,
    PLAIN,
    RED,
    Json,
    JsonObject,
    Override,
    Query,
    Step,
    steps_to_json,
)
from exporter.settings.alert_thresholds import AlertSettings

_LINE_COLORS = {"warning": ORANGE, "critical": RED}
_THRESHOLDS = tuple(
    (threshold.alert, threshold.severity)
    for threshold in AlertSettings().thresholds(scan_interval=300)
)


def _letter(number: int) -> str:
    return chr(ord("A") + number)


@dataclass(frozen=True, slots=True)
class Panel:
    """What all panels have.

    Attributes:
        title: unique on its dashboard.
        description: what it says and what to do about it; behind the title's ``i``.
        queries: what it shows.
        unit: Grafana's name of it.
        width: of 24.
        overrides: fields that differ.
        steps: the colours by value.
        decimals: how many, where Grafana's choice is wrong.
        least: the low end of the scale.
        most: the high end of the scale.
        no_value: what stands there when the queries give nothing.
        mappings: texts for values.

    And of each kind: what Grafana calls it, whether it shows the value now or a range, and in
    what form it wants that.
    """

    kind: ClassVar[str]
    instant: ClassVar[bool] = False
    form: ClassVar[str] = "time_series"

    title: str
    description: str
    queries: tuple[Query, ...]
    unit: str
    width: int = 8
    overrides: tuple[Override, ...] = ()
    steps: tuple[Step, ...] = PLAIN
    decimals: int | None = None
    least: float | None = None
    most: float | None = None
    no_value: str | None = None
    mappings: Json = None

    def to_json(self) -> JsonObject:
        """Give it without its identity and place."""
        shown: JsonObject = {
            "datasource": DATASOURCE,
            "description": self.description,
            "fieldConfig": {
                "defaults": self._defaults(),
                "overrides": [each.to_json() for each in self._all_overrides()],
            },
            "options": self._options(),
            "targets": self._targets(),
            "title": self.title,
            "type": self.kind,
        }
        transformations = self._transformations()
        return shown | {"transformations": transformations} if transformations else shown

    def _targets(self) -> Json:
        return [
            query.to_json(_letter(number), instant=self.instant, form=self.form)
            for number, query in enumerate(self._all_queries())
        ]

    def _all_queries(self) -> tuple[Query, ...]:
        return self.queries

    def _all_overrides(self) -> tuple[Override, ...]:
        return self.overrides

    def _defaults(self) -> JsonObject:
        optional: dict[str, Json] = {
            "decimals": self.decimals,
            "mappings": self.mappings,
            "max": self.most,
            "min": self.least,
            "noValue": self.no_value,
        }
        always: JsonObject = {
            "color": {"mode": self._color_mode()},
            "custom": self._custom(),
            "thresholds": steps_to_json(self.steps),
            "unit": self.unit,
        }
        return always | {name: each for name, each in optional.items() if each is not None}

    def _color_mode(self) -> str:
        return "thresholds"

    def _custom(self) -> JsonObject:
        return {}

    def _options(self) -> JsonObject:
        return {}

    def _transformations(self) -> Json:
        return None


def _severities_of(alert: str) -> tuple[str, ...]:
    found = tuple(severity for each, severity in _THRESHOLDS if each == alert)
    if not found:
        raise ValueError(f"{alert}: no alert that has a threshold")
    return found


def _dashed(color: str) -> JsonObject:
    return {
        "color": {"fixedColor": color, "mode": "fixed"},
        "custom.fillOpacity": 0,
        "custom.lineStyle": {"dash": [8, 8], "fill": "dash"},
        "custom.stacking": {"group": "B", "mode": "none"},
    }


_LAST: JsonObject = {"calcs": ["lastNotNull"], "fields": "", "values": False}


@dataclass(frozen=True, slots=True)
class Stat(Panel):
    """One number for each series, large, in the colour of its step, over a line of its past."""

    kind: ClassVar[str] = "stat"

    width: int = 3
    past: bool = True
    colored: str = "value"

    def _options(self) -> JsonObject:
        return {
            "colorMode": self.colored,
            "graphMode": "area" if self.past else "none",
            "justifyMode": "auto",
            "orientation": "auto",
            "reduceOptions": _LAST,
            "textMode": "auto",
        }


@dataclass(frozen=True, slots=True)
class Gauge(Panel):
    """One number for each series, on the arc between its least and its most."""

    kind: ClassVar[str] = "gauge"

    width: int = 3

    def _options(self) -> JsonObject:
        return {
            "orientation": "auto",
            "reduceOptions": _LAST,
            "showThresholdLabels": False,
            "showThresholdMarkers": False,
        }


@dataclass(frozen=True, slots=True)
class BarGauge(Panel):
    """A bar for each series, side by side for comparison."""

    kind: ClassVar[str] = "bargauge"
    instant: ClassVar[bool] = True

    def _options(self) -> JsonObject:
        return {
            "displayMode": "basic",
            "minVizHeight": 10,
            "minVizWidth": 0,
            "orientation": "horizontal",
            "reduceOptions": _LAST,
            "showUnfilled": True,
            "valueMode": "color",
        }


@dataclass(frozen=True, slots=True)
class TimeSeries(Panel):
    """Lines over time, and dashed ones where an alert fires.

    Attributes:
        alert: the alert whose thresholds are drawn, without ``DockerRegistry``.
        stacked: areas on top of each other.
        stepped: no slopes between two values.

    """

    kind: ClassVar[str] = "timeseries"

    alert: str | None = None
    stacked: bool = False
    stepped: bool = False

    def _all_queries(self) -> tuple[Query, ...]:
        lines = tuple(
            Query(
                "max by (job, instance, severity) "
                f"({series('alert_threshold', alert=self.alert, severity=severity)})",
                f"{severity} {{{{instance}}}}",
            )
            for severity in self._severities()
            if self.alert is not None
        )
        return self.queries + lines

    def _all_overrides(self) -> tuple[Override, ...]:
        first = len(self.queries)
        lines = tuple(
            Override("byFrameRefID", _letter(first + number), _dashed(_LINE_COLORS[severity]))
            for number, severity in enumerate(self._severities())
        )
        return self.overrides + lines

    def _severities(self) -> tuple[str, ...]:
        return () if self.alert is None else _severities_of(self.alert)

    def _color_mode(self) -> str:
        return "palette-classic"

    def _custom(self) -> JsonObject:
        return {
            "drawStyle": "line",
            "fillOpacity": 30 if self.stacked else 10,
            "lineInterpolation": "stepAfter" if self.stepped else "linear",
            "lineWidth": 1,
            "pointSize": 4,
            "showPoints": "auto",
            "spanNulls": False,
            "stacking": {"group": "A", "mode": "normal" if self.stacked else "none"},
            "thresholdsStyle": {"mode": "off"},
        }

    def _options(self) -> JsonObject:
        return {
            "legend": {
                "calcs": [],
                "displayMode": "list",
                "placement": "bottom",
                "showLegend": True,
            },
            "tooltip": {"mode": "multi", "sort": "desc"},
        }


@dataclass(frozen=True, slots=True)
class Table(Panel):
    """A row for each set of labels, a column for each label and each query.

    Attributes:
        columns: the fields in their order, each with its heading. A field is a label, or
            ``Value #A`` for what query A gives (``Value`` where it is alone).
        dropped: fields that are no column.
        sort_by: the heading to sort by.
        falling: the largest first.

    """

    kind: ClassVar[str] = "table"
    instant: ClassVar[bool] = True
    form: ClassVar[str] = "table"

    columns: Mapping[str, str] = field(default_factory=dict)
    dropped: tuple[str, ...] = ("Time",)
    sort_by: str = ""
    falling: bool = True

    def _custom(self) -> JsonObject:
        # As in version 37 of the schema: what is later makes cellOptions of it.
        return {"align": "auto", "displayMode": "auto", "inspect": False}

    def _options(self) -> JsonObject:
        sorting: JsonObject = {"desc": self.falling, "displayName": self.sort_by}
        return {"showHeader": True, "sortBy": [sorting]}

    def _transformations(self) -> Json:
        dropped: JsonObject = dict.fromkeys(self.dropped, True)
        places: JsonObject = {name: place for place, name in enumerate(self.columns)}
        headings: JsonObject = {name: each for name, each in self.columns.items() if each != name}
        merge: JsonObject = {"id": "merge", "options": {}}
        organize: JsonObject = {
            "id": "organize",
            "options": {
                "excludeByName": dropped,
                "indexByName": places,
                "renameByName": headings,
            },
        }
        return [merge, organize]
