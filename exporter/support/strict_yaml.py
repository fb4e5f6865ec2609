"""Strict YAML for settings: text, lists and mappings, and no surprises."""

import re
from collections.abc import Hashable
from typing import NoReturn

import yaml
from yaml.error import MarkedYAMLError

_PREFIX = "tag:yaml.org,2002:"
_NULL = f"{_PREFIX}null"
_MOST_BRACKETS = 50
_TOO_DEEP = "nested too deep"
_NO_TAGS = "tags are not supported"
_TAG_HANDLE = re.compile(r".* tag handle .*", re.DOTALL)
"""PyYAML's message quotes the tag, which may be a password that begins with ``!``."""
_TAGS = {_NULL, f"{_PREFIX}map", f"{_PREFIX}seq", f"{_PREFIX}str"}

_Resolvers = dict[str, list[tuple[str, re.Pattern[str]]]]


def parse_yaml(text: str) -> object:
    """Parse one document; a scalar is None or text: ``007`` is not a number, ``no`` not a boolean.

    Raises ValueError, with the position, for aliases, tags, duplicate keys and anything that is not
    YAML. It does not quote the line, which may hold a secret.
    """
    try:
        return yaml.load(text, _Loader)  # noqa: S506 - it knows no tags
    except MarkedYAMLError as error:
        mark = error.problem_mark
        where = "" if mark is None else f"line {mark.line + 1}, column {mark.column + 1}: "
        problem = _TAG_HANDLE.sub(_NO_TAGS, error.problem or "")
        raise ValueError(f"{where}{problem}") from error
    except yaml.YAMLError as error:
        raise ValueError(" ".join(str(error).split())) from error
    except RecursionError as error:
        raise ValueError(_TOO_DEEP) from error


def _refuse_tag(_: yaml.SafeLoader, node: yaml.Node) -> NoReturn:
    raise MarkedYAMLError(problem=_NO_TAGS, problem_mark=node.start_mark)


class _Loader(yaml.SafeLoader):
    """Knows no types but text; refuses whatever does not mean what it seems to mean."""

    yaml_implicit_resolvers: _Resolvers = {  # noqa: RUF012 - declared by the base class
        start: [(tag, pattern) for tag, pattern in resolvers if tag == _NULL]
        for start, resolvers in yaml.SafeLoader.yaml_implicit_resolvers.items()
    }
    yaml_constructors = {
        tag: constructor
        for tag, constructor in yaml.SafeLoader.yaml_constructors.items()
        if tag in _TAGS
    } | {None: _refuse_tag}

    def fetch_flow_collection_start(self, token: type[yaml.Token]) -> None:
        """Refuse deeply nested brackets: PyYAML checks all open ones at each token."""
        if self.flow_level >= _MOST_BRACKETS:
            mark = self.get_mark()
            raise MarkedYAMLError(problem=_TOO_DEEP, problem_mark=mark)
        super().fetch_flow_collection_start(token)

    def compose_node(self, parent: yaml.Node | None, index: int) -> yaml.Node | None:
        """Refuse aliases: they can contain themselves, or expand a few lines to any size."""
        if self.check_event(yaml.AliasEvent):
            mark = self.peek_event().start_mark  # type: ignore[no-untyped-call]
            raise MarkedYAMLError(problem="aliases are not supported", problem_mark=mark)
        return super().compose_node(parent, index)

    def construct_mapping(
        self,
        node: yaml.MappingNode,
        deep: bool = False,  # noqa: FBT001, FBT002 - declared by the base class
    ) -> dict[Hashable, object]:
        """Refuse duplicate keys: the first would be lost silently."""
        names = set()
        for key, _ in node.value:
            if isinstance(key, yaml.ScalarNode) and key.value in names:
                raise MarkedYAMLError(problem="a key occurs twice", problem_mark=key.start_mark)
            names.add(str(key.value))
        return super().construct_mapping(node, deep)
