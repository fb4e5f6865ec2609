"""The parts of a panel: its queries, and the appearance of the fields that they return."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

Json = None | bool | int | float | str | Sequence["Json"] | Mapping[str, "Json"]
JsonObject = dict[str, Json]

DATASOURCE: JsonObject = {"type": "prometheus", "uid": "${datasource}"}

RED = "red"
ORANGE = "orange"
YELLOW = "yellow"
GREEN = "green"
BLUE = "blue"
PURPLE = "purple"


@dataclass(frozen=True, slots=True)
class Query:
    """One PromQL expression of a panel.

    Attributes:
        expr: the expression, which may use the dashboard's variables.
        legend: the name of its series; ``{{label}}`` stands for a label's value, ``{{$legend}}``
            for that of the label chosen at the top of the dashboard.

    """

    expr: str
    legend: str = "{{$legend}}"

    def to_json(self, ref: str, *, instant: bool, form: str) -> JsonObject:
        """Return the query as target ``ref`` of a panel.

        ``instant`` asks for the current value, not for a range.
        """
        return {
            "datasource": DATASOURCE,
            "editorMode": "code",
            "expr": self.expr,
            "format": form,
            "instant": instant,
            "legendFormat": self.legend,
            "range": not instant,
            "refId": ref,
        }


@dataclass(frozen=True, slots=True)
class Override:
    """Properties that differ for some fields of a panel.

    Attributes:
        matcher: ``byName`` with a field's name, ``byRegexp`` with a pattern of names, or
            ``byFrameRefID`` with a query's letter.
        which: the name, the pattern or the letter.
        properties: values by Grafana's property names, such as ``unit`` and ``custom.lineStyle``.

    """

    matcher: str
    which: str
    properties: Mapping[str, Json]

    def to_json(self) -> JsonObject:
        """Return the override as Grafana's field configuration expects it."""
        return {
            "matcher": {"id": self.matcher, "options": self.which},
            "properties": [{"id": name, "value": each} for name, each in self.properties.items()],
        }


@dataclass(frozen=True, slots=True)
class Step:
    """The colour of a field from ``value`` upwards; None means from the smallest number."""

    value: float | None
    color: str


PLAIN = (Step(None, BLUE),)
ANY_IS_BAD = (Step(None, GREEN), Step(1, RED))
ANY_IS_DOUBTFUL = (Step(None, GREEN), Step(1, ORANGE))
ONE_IS_GOOD = (Step(None, RED), Step(1, GREEN))


def steps_to_json(steps: Sequence[Step]) -> JsonObject:
    """Return the colours of a field by its value."""
    return {
        "mode": "absolute",
        "steps": [{"color": step.color, "value": step.value} for step in steps],
    }


def mapping(texts: Mapping[str, tuple[str, str]]) -> Json:
    """Return a mapping that shows texts and colours instead of some values."""
    return [
        {
            "type": "value",
            "options": {
                value: {"text": text, "color": color, "index": index}
                for index, (value, (text, color)) in enumerate(texts.items())
            },
        }
    ]


def mapping_from(least: float, text: str) -> Json:
    """Return a mapping that shows a text instead of all values from ``least`` upwards."""
    return [
        {
            "type": "range",
            "options": {"from": least, "to": None, "result": {"text": text, "index": 0}},
        }
    ]


def link(title: str, url: str) -> Json:
    """Return a link on a field's values."""
    return [{"title": title, "url": url, "targetBlank": False}]


OPEN_IN_EXPLORER: JsonObject = {
    "links": link("Explorer", "${__value.raw:raw}/repositories/${__data.fields.repository}"),
    "mappings": [
        {"type": "regex", "options": {"pattern": ".+", "result": {"text": "open", "index": 0}}}
    ],
    "custom.width": 70,
}
"""Properties of a column with the address of the explorer: a link to the row's repository."""


def named(**colors: str) -> tuple[Override, ...]:
    """Return overrides that colour each series by the first word of its name."""
    return tuple(
        Override("byRegexp", f"/^{word} /", {"color": {"fixedColor": color, "mode": "fixed"}})
        for word, color in colors.items()
    )
