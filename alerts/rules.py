"""A rule file of Prometheus as typed values."""

from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import yaml

RULES = Path(__file__).with_name("registry-storage.rules.yml")
PREFIX = "DockerRegistry"


@dataclass(frozen=True, slots=True)
class RecordingRule:
    """A series that Prometheus keeps under a name of its own."""

    name: str
    expr: str

    def to_mapping(self) -> dict[str, Any]:
        """Give it as it stands in a rule file."""
        return {"record": self.name, "expr": self.expr}


@dataclass(frozen=True, slots=True)
class AlertingRule:
    """One alert of one severity.

    Attributes:
        name: with ``DockerRegistry``; two rules have it where there are two severities.
        expr: PromQL that gives a series for each thing that is wrong.
        lasting: how long it must be so, as in ``5m``.
        severity: ``critical``, ``warning`` or ``info``.
        annotations: texts, with Prometheus' templates in them.

    """

    name: str
    expr: str
    lasting: str
    severity: str
    annotations: Mapping[str, str] = field(repr=False)

    @property
    def short_name(self) -> str:
        """The name without its prefix, as thresholds have it."""
        return self.name.removeprefix(PREFIX)

    def to_mapping(self) -> dict[str, Any]:
        """Give it as it stands in a rule file."""
        return {
            "alert": self.name,
            "expr": self.expr,
            "for": self.lasting,
            "labels": {"severity": self.severity},
            "annotations": dict(self.annotations),
        }


Rule = RecordingRule | AlertingRule


@dataclass(frozen=True, slots=True)
class RuleGroup:
    """Rules that are evaluated one after the other, at one time."""

    name: str
    rules: tuple[Rule, ...]


@dataclass(frozen=True, slots=True)
class RuleFile:
    """All groups of a rule file."""

    groups: tuple[RuleGroup, ...]

    def alerts(self) -> Iterator[AlertingRule]:
        """Give the alerts in the order in which they stand."""
        return (each for each in self._rules() if isinstance(each, AlertingRule))

    def recordings(self) -> dict[str, str]:
        """Give the expression of each recorded name."""
        return {each.name: each.expr for each in self._rules() if isinstance(each, RecordingRule)}

    def _rules(self) -> Iterator[Rule]:
        return (each for group in self.groups for each in group.rules)


def read_rules(path: Path = RULES) -> RuleFile:
    """Read a rule file that ``promtool check rules`` accepts."""
    document = yaml.safe_load(path.read_text(encoding="utf-8"))
    return RuleFile(
        tuple(
            RuleGroup(group["name"], tuple(map(_rule, group["rules"])))
            for group in document["groups"]
        )
    )


def _rule(rule: Mapping[str, Any]) -> Rule:
    if "record" in rule:
        return RecordingRule(rule["record"], rule["expr"])
    return AlertingRule(
        name=rule["alert"],
        expr=rule["expr"],
        lasting=rule["for"],
        severity=rule["labels"]["severity"],
        annotations=rule["annotations"],
    )


class _Dumper(yaml.SafeDumper):
    """Writes text of several lines as such, and never an alias."""

    def ignore_aliases(self, data: Any) -> bool:  # noqa: ANN401, ARG002 - as the base class has it
        return True


def _text(dumper: yaml.SafeDumper, text: str) -> yaml.ScalarNode:
    style = "|" if "\n" in text else None
    return dumper.represent_scalar("tag:yaml.org,2002:str", text, style=style)


_Dumper.add_representer(str, _text)


def dump_rendered(document: Mapping[str, Any]) -> str:
    """Give a document as YAML, with the line that says where it comes from."""
    heading = (
        "# Written by `make alerts` from alerts/registry-storage.rules.yml: change that one.\n"
    )
    return heading + yaml.dump(document, Dumper=_Dumper, sort_keys=False, width=1_000)
