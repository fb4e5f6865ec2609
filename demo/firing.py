"""Report which alerts fire: one line when an alert begins to fire, and one when it stops.

Asks Alertmanager if there is one, because it knows which alerts are inhibited: the warning of an
alert that also fires as critical is not reported. Otherwise asks Prometheus.
"""

from collections.abc import Mapping
from typing import Any, NamedTuple

import httpx

_SECONDS_BETWEEN = 1.0
_TIMEOUT_SECONDS = 0.5
_SEVERITIES = ("critical", "warning", "info")


class Alert(NamedTuple):
    """A firing alert, identified by its labels."""

    labels: frozenset[tuple[str, str]]
    summary: str

    @property
    def title(self) -> str:
        """Its name and severity."""
        labels = dict(self.labels)
        return f"{labels['alertname']} ({labels.get('severity', 'no severity')})"

    @property
    def runbook(self) -> str:
        """Path of the page that says what to do."""
        return runbook_of(dict(self.labels)["alertname"])


def runbook_of(alert: str) -> str:
    """Return the path of an alert's runbook, relative to the repository's root."""
    return f"docs/runbooks/{alert}.md"


class Firing:
    """The alerts that fire according to one server."""

    def __init__(self, prometheus_url: str, alertmanager_url: str | None) -> None:
        self._prometheus_url = prometheus_url
        self._alertmanager_url = alertmanager_url
        self._reported: dict[frozenset[tuple[str, str]], Alert] = {}
        self._next = 0.0
        self._http = httpx.Client(trust_env=False, timeout=_TIMEOUT_SECONDS)

    def close(self) -> None:
        """Close its connections."""
        self._http.close()

    def report_changes(self, now: float) -> None:
        """Print what has changed since the last call; ``now`` is in seconds of a monotonic clock.

        Nothing is printed while the server does not answer.
        """
        if now < self._next:
            return
        self._next = now + _SECONDS_BETWEEN
        try:
            firing = {alert.labels: alert for alert in sorted(self._ask(), key=_urgency)}
        except (httpx.HTTPError, ValueError, KeyError):
            return
        for labels, alert in firing.items():
            if labels not in self._reported:
                runbook = alert.runbook
                print(f"Firing: {alert.title}: {alert.summary} - runbook {runbook}", flush=True)
        for labels, alert in self._reported.items():
            if labels not in firing:
                print(f"No longer firing: {alert.title}: {alert.summary}", flush=True)
        self._reported = firing

    def _ask(self) -> list[Alert]:
        if self._alertmanager_url is None:
            found = self._get(f"{self._prometheus_url}/api/v1/alerts")["data"]["alerts"]
            return [_alert(each) for each in found if each["state"] == "firing"]
        # A silenced alert still fires.
        wanted = {"active": "true", "silenced": "true", "inhibited": "false"}
        return [
            _alert(each) for each in self._get(f"{self._alertmanager_url}/api/v2/alerts", wanted)
        ]

    def _get(self, url: str, parameters: Mapping[str, str] | None = None) -> Any:  # noqa: ANN401 - JSON
        return self._http.get(url, params=parameters).raise_for_status().json()


def _urgency(alert: Alert) -> tuple[int, str]:
    severity = dict(alert.labels).get("severity", "")
    known = severity in _SEVERITIES
    return _SEVERITIES.index(severity) if known else len(_SEVERITIES), alert.title


def _alert(found: Mapping[str, Any]) -> Alert:
    return Alert(frozenset(found["labels"].items()), found["annotations"].get("summary", ""))
