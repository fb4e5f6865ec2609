"""Values in nested documents, such as parsed YAML and JSON."""

from collections.abc import Iterator
from typing import Any


def values_of(node: Any, key: str) -> Iterator[Any]:  # noqa: ANN401 - YAML or JSON
    """Find the values of ``key`` in all mappings, however deep."""
    if isinstance(node, dict):
        for name, value in node.items():
            if name == key:
                yield value
            yield from values_of(value, key)
    elif isinstance(node, list):
        for value in node:
            yield from values_of(value, key)
