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
    """A query result that Prometheus stores as a series with its own name."""

    name: str
    expr: str

    def to_mapping(self) -> dict[str, Any]:
        """Return the rule as a mapping, as in a rule file."""
        return {"record": self.name, "expr": self.expr}


@dataclass(frozen=True, slots=True)
class AlertingRule:
    """One alert of one severity.

    Attributes:
        name: with the prefix ``DockerRegistry``; two severities are two rules with one name.
        expr: PromQL that returns one series per problem.
        lasting: how long the problem must last before the alert fires, e.g. ``5m``.
        severity: ``critical``, ``warning`` or ``info``.
        annotations: texts that contain Prometheus templates.

    """

    name: str
    expr: str
    lasting: str
    severity: str
    annotations: Mapping[str, str] = field(repr=False)

    @property
    def short_name(self) -> str:
        """The name without its prefix, as in the thresholds."""
        return self.name.removeprefix(PREFIX)

    def to_mapping(self) -> dict[str, Any]:
        """Return the rule as a mapping, as in a rule file."""
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
    """Rules that Prometheus evaluates one after the other, with the same timestamp."""

    name: str
    rules: tuple[Rule, ...]


@dataclass(frozen=True, slots=True)
class RuleFile:
    """All groups of a rule file."""

    groups: tuple[RuleGroup, ...]

    def alerts(self) -> Iterator[AlertingRule]:
        """Return the alerts in the order of the file."""
        return (each for each in self._rules() if isinstance(each, AlertingRule))

    def recordings(self) -> dict[str, str]:
        """Return the expression of each recorded series, by name."""
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
    """Writes multi-line text as a block, and never writes aliases."""

    def ignore_aliases(self, data: Any) -> bool:  # noqa: ANN401, ARG002 - as in the base class
        return True


def _text(dumper: yaml.SafeDumper, text: str) -> yaml.ScalarNode:
    style = "|" if "\n" in text else None
    return dumper.represent_scalar("tag:yaml.org,2002:str", text, style=style)


_Dumper.add_representer(str, _text)


def dump_rendered(document: Mapping[str, Any]) -> str:
    """Return a document as YAML, below a line that names its source."""
    heading = (
        "# Written by `make alerts` from alerts/registry-storage.rules.yml: change that one.\n"
    )
    return heading + yaml.dump(document, Dumper=_Dumper, sort_keys=False, width=1_000)
