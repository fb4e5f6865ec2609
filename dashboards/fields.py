"""What panels are made of: queries, and what the fields look like that they give."""

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
        expr: the expression, with the dashboard's variables in it.
        legend: the name of its series, ``{{label}}`` standing for a label's value.

    """

    expr: str
    legend: str = "{{instance}}"

    def to_json(self, ref: str, *, instant: bool, form: str) -> JsonObject:
        """Give it as target ``ref`` of a panel: ``instant`` asks for now, not for a range."""
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
    """What some fields of a panel have of their own.

    Attributes:
        matcher: ``byName`` with a field's name, ``byRegexp`` with a pattern of names, or
            ``byFrameRefID`` with a query's letter.
        which: the name, the pattern or the letter.
        properties: by Grafana's names of them, such as ``unit`` and ``custom.lineStyle``.

    """

    matcher: str
    which: str
    properties: Mapping[str, Json]

    def to_json(self) -> JsonObject:
        """Give it as one of a field configuration's overrides."""
        return {
            "matcher": {"id": self.matcher, "options": self.which},
            "properties": [{"id": name, "value": each} for name, each in self.properties.items()],
        }


@dataclass(frozen=True, slots=True)
class Step:
    """From ``value`` upwards a field has this colour; from the smallest number where it is None."""

    value: float | None
    color: str


PLAIN = (Step(None, BLUE),)
ANY_IS_BAD = (Step(None, GREEN), Step(1, RED))
ANY_IS_DOUBTFUL = (Step(None, GREEN), Step(1, ORANGE))
ONE_IS_GOOD = (Step(None, RED), Step(1, GREEN))


def steps_to_json(steps: Sequence[Step]) -> JsonObject:
    """Give the colours of a field by its value."""
    return {
        "mode": "absolute",
        "steps": [{"color": step.color, "value": step.value} for step in steps],
    }


def mapping(texts: Mapping[str, tuple[str, str]]) -> Json:
    """Give the texts and colours that stand for some values."""
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
    """Give a text that stands for all values from ``least`` upwards."""
    return [
        {
            "type": "range",
            "options": {"from": least, "to": None, "result": {"text": text, "index": 0}},
        }
    ]


def link(title: str, url: str) -> Json:
    """Give a link of a field's values."""
    return [{"title": title, "url": url, "targetBlank": False}]


def named(**colors: str) -> tuple[Override, ...]:
    """Give series whose name begins with a word the colour of that word."""
    return tuple(
        Override("byRegexp", f"/^{word} /", {"color": {"fixedColor": color, "mode": "fixed"}})
        for word, color in colors.items()
    )
