"""The kinds of panels, each as JSON that Grafana 9.4 to 13 import.

``dashboards.layout`` places them and builds the dashboard around them.
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
    """The attributes that all panels share.

    Attributes:
        title: unique on its dashboard.
        description: what the panel means and what to do about it; behind the title's ``i``.
        queries: the queries that it shows.
        unit: Grafana's name of the unit.
        width: out of 24.
        overrides: fields that differ.
        steps: the colours by value.
        decimals: the number of decimals, where Grafana's choice is wrong.
        least: the low end of the scale.
        most: the high end of the scale.
        no_value: the text to show if the queries return nothing.
        mappings: texts to show instead of values.

    Each kind also sets Grafana's name of it, whether it queries the current value or a range, and
    the format of the result.
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
        """Return the panel without its id and position."""
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
        raise ValueError(f"{alert} is not an alert with a threshold")
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
    """A large number for each series in the colour of its step, with its history behind it."""

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
    """A number for each series, on an arc from ``least`` to ``most``."""

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
    """Lines over time, with a dashed line at each alert threshold.

    Attributes:
        alert: the alert whose thresholds are drawn, without the prefix ``DockerRegistry``.
        stacked: draw areas on top of each other.
        stepped: draw steps instead of slopes between two values.

    """

    kind: ClassVar[str] = "timeseries"

    alert: str | None = None
    stacked: bool = False
    stepped: bool = False

    def _all_queries(self) -> tuple[Query, ...]:
        lines = tuple(
            Query(
                "max without (alert) "
                f"({series('alert_threshold', alert=self.alert, severity=severity)})",
                f"{severity} {{{{$legend}}}}",
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
            ``Value #A`` for the result of query A (``Value`` if there is only one query).
        dropped: fields that are not shown.
        sort_by: the heading to sort by.
        falling: sort the largest first.

    """

    kind: ClassVar[str] = "table"
    instant: ClassVar[bool] = True
    form: ClassVar[str] = "table"

    columns: Mapping[str, str] = field(default_factory=dict)
    dropped: tuple[str, ...] = ("Time",)
    sort_by: str = ""
    falling: bool = True

    def _custom(self) -> JsonObject:
        # As in version 37 of the schema. Later versions migrate it to cellOptions.
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
