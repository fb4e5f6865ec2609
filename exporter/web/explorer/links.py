"""Addresses of pages, below the path that a reverse proxy may add."""

from collections.abc import Mapping
from dataclasses import dataclass
from urllib.parse import quote, urlencode

_SAFE = "/:@"


@dataclass(frozen=True, slots=True)
class Links:
    """Writes addresses.

    Attributes:
        prefix: what comes before each path: empty, or a path without a slash at its end.

    """

    prefix: str = ""

    def to(self, path: str, query: Mapping[str, object] | None = None, fragment: str = "") -> str:
        """Return the address of a path, which begins with a slash, with a query.

        Values of the query that are empty, None or False are left out.
        """
        address = self.prefix + quote(path, safe=_SAFE)
        given = {name: str(value) for name, value in (query or {}).items() if _is_given(value)}
        if given:
            address += f"?{urlencode(given)}"
        return f"{address}#{quote(fragment)}" if fragment else address

    def repository(self, name: str, query: Mapping[str, object] | None = None) -> str:
        """Return the address of a repository's page."""
        return self.to(f"/repositories/{name}", query)

    def image(self, digest: str) -> str:
        """Return the address of an image's page."""
        return self.to(f"/images/{digest}")

    def blob(self, digest: str) -> str:
        """Return the address of a blob's page."""
        return self.to(f"/blobs/{digest}")


def _is_given(value: object) -> bool:
    return value is not None and value is not False and value != ""
