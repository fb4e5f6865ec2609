"""The alerts as rules that Grafana (9.4 to 13) evaluates itself, for users without an Alertmanager.

Three things differ from Prometheus. There are no recorded series, so their expressions are inlined.
Annotations cannot query, so the parts that do are removed, and so is the link to the explorer. A
Grafana condition is true if it is a number other than zero; a Prometheus condition is true if there
is a series at all.

In provisioning files ``$NAME`` is an environment variable and ``$$`` is a dollar sign; only in
annotations, Grafana does not substitute (Grafana's pull request 54975).
"""

import re
from collections.abc import Iterator
from typing import Any

from alerts.rules import AlertingRule, RuleFile, dump_rendered
from dashboards import DASHBOARDS
from dashboards.panels import TimeSeries

DATASOURCE = "prometheus"
FOLDER = "Registry storage"
GROUP = "registry-storage"
INTERVAL = "1m"

_QUERYING = re.compile(
    r"\s*\{\{-? with printf (?:(?!\}\}).)* \| query \}\}.*?\{\{ end \}\}", re.DOTALL
)
_OWN = re.compile(r"\{\{ \$own := .*?\{\{ end \}\}\{\{ end -\}\}\s*", re.DOTALL)
# True for every value, even 0 (up == 0) and infinity (division by zero).
_ANY_VALUE = "is_number($$A) || is_inf($$A)"
_LONGEST_UID = 40
_ONLY_BY_QUERY = "explorer"


def render_grafana_rules(file: RuleFile) -> str:
    """Return the provisioning file for all alerts, as one group in one folder."""
    recorded = file.recordings()
    alerts = list(file.alerts())
    names = [each.name for each in alerts]
    rules = [_rule(each, recorded, alone=names.count(each.name) == 1) for each in alerts]
    group = {
        "orgId": 1,
        "name": GROUP,
        "folder": FOLDER,
        "interval": INTERVAL,
        "rules": rules,
    }
    return dump_rendered({"apiVersion": 1, "groups": [group]})


def _rule(alert: AlertingRule, recorded: dict[str, str], *, alone: bool) -> dict[str, Any]:
    annotations = {
        name: _without_queries(text)
        for name, text in alert.annotations.items()
        if name != _ONLY_BY_QUERY
    }
    return {
        "uid": _uid(alert),
        # Unique in its folder; notifications show it as alertname.
        "title": alert.name if alone else f"{alert.name} ({alert.severity})",
        "condition": "B",
        "data": [
            _query(inline(alert.expr, recorded)),
            _expression({"type": "math", "expression": _ANY_VALUE}),
        ],
        # No series means healthy. Another alert fires if the exporter is down.
        "noDataState": "OK",
        "execErrState": "Error",
        "for": alert.lasting,
        "annotations": annotations | dict(_panel(alert.short_name)),
        "labels": {"severity": alert.severity},
        "isPaused": False,
    }


def _uid(alert: AlertingRule) -> str:
    uid = f"drs-{alert.short_name}-{alert.severity}"
    if len(uid) > _LONGEST_UID:
        raise ValueError(f"{alert.name}: {uid} is longer than Grafana allows, {_LONGEST_UID}")
    return uid


def inline(expr: str, recorded: dict[str, str]) -> str:
    """Replace the names of recorded series by their expressions, recursively."""
    for name in sorted(recorded, key=len, reverse=True):
        pattern = rf"(?<![\w:]){re.escape(name)}(?![\w:])"
        if re.search(pattern, expr):
            inner = inline(recorded[name], recorded)
            expr = re.sub(pattern, lambda _, inner=inner: f"({inner})", expr)  # type: ignore[misc]
    return expr


def _without_queries(text: str) -> str:
    return re.sub(r"\$value\b", "$values.A.Value", _QUERYING.sub("", _OWN.sub("", text)))


def _query(expr: str) -> dict[str, Any]:
    model = {
        "datasource": {"type": "prometheus", "uid": DATASOURCE},
        "editorMode": "code",
        "expr": expr.replace("$", "$$"),
        "instant": True,
        "intervalMs": 1000,
        "maxDataPoints": 43200,
        "range": False,
        "refId": "A",
    }
    return _data("A", DATASOURCE, model)


def _expression(model: dict[str, Any]) -> dict[str, Any]:
    source = {"type": "__expr__", "uid": "__expr__"}
    return _data("B", "__expr__", {"datasource": source, "refId": "B"} | model)


def _data(ref: str, datasource: str, model: dict[str, Any]) -> dict[str, Any]:
    return {
        "refId": ref,
        "relativeTimeRange": {"from": 600, "to": 0},
        "datasourceUid": datasource,
        "model": model,
    }


def _panel(short_name: str) -> Iterator[tuple[str, str]]:
    """Yield the annotations that link an alert to the panel with its thresholds, if any."""
    for dashboard in DASHBOARDS:
        panels = [panel for band in dashboard.bands for panel in band.panels]
        titles = {
            panel.title
            for panel in panels
            if isinstance(panel, TimeSeries) and panel.alert == short_name
        }
        for placed in dashboard.placed():
            if placed["title"] in titles:
                yield "__dashboardUid__", dashboard.uid
                yield "__panelId__", str(placed["id"])
                return
