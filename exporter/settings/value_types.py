"""Types of settings: what each accepts, and its message for anything else."""

import re
from decimal import Decimal
from pathlib import Path
from typing import Annotated, Literal
from urllib.parse import urlsplit

from pydantic import AfterValidator, BaseModel, BeforeValidator, ConfigDict, Field, PlainSerializer

from exporter.settings.name_patterns import parse_name_pattern
from exporter.support.quantities import (
    ListenAddress,
    parse_duration,
    parse_listen_address,
    parse_size,
)


class SettingsGroup(BaseModel):
    """Settings that share the first part of their name."""

    model_config = ConfigDict(frozen=True, extra="forbid", hide_input_in_errors=True)


_NOT_A_URL = "is not a URL; write e.g. https://registry.example.com:996"
_LONGEST_SECONDS = 366 * 86400.0
_MOST_BYTES = 2**63
_LEAST_HISTORY = 10_000_000
_MOST_TAGS = 10**9
_MOST_OPERATIONS = 10**9
_LEAST_HEADER, _MOST_HEADER = 1024, 1024 * 1024
_MOST_CONNECTIONS = 100_000
_ROUTE_PREFIX = re.compile(r"(?:/[A-Za-z0-9._~-]+)*")
_PREFIX = re.compile(r"[a-z0-9]+(?:(?:\.|_|__|-+|/)[a-z0-9]+)*")


def _duration(value: object) -> object:
    return parse_duration(value) if isinstance(value, str) else value


def _duration_or_zero(value: object) -> object:
    return 0.0 if value == "0" else _duration(value)


def _seconds(value: object) -> object:
    """Accept thresholds in seconds as a number as well: the rules compare with it."""
    if isinstance(value, str) and not value.replace(".", "", 1).isdigit():
        return parse_duration(value)
    return value


def _write_seconds(seconds: float) -> str:
    """Return a duration that parses as the same value: never with an exponent."""
    return f"{Decimal(repr(seconds)).normalize():f}s"


def _size(value: object) -> object:
    return parse_size(value) if isinstance(value, str) else value


def _history_size(size: int) -> int:
    if 0 < size < _LEAST_HISTORY:
        raise ValueError("is too small; write at least 10MB, or 0 to keep no history")
    return size


def _path(value: object) -> object:
    if isinstance(value, Path):
        return value
    if not isinstance(value, str) or not value or "\0" in value or not _is_encodable(value):
        raise ValueError("is not a path; write e.g. /srv/registry")
    return value


def _path_texts(value: object) -> object:
    """Accept one path, several separated by commas or line breaks, or a list of these."""
    items = value if isinstance(value, list | tuple) else [value]
    parts = [part for item in items for part in (_parts(item) if isinstance(item, str) else [item])]
    return list(dict.fromkeys(parts)) if all(isinstance(each, str) for each in parts) else parts


def _parts(text: str) -> list[str]:
    return [part.strip() for part in re.split(r"[,\n]", text)] if text.strip() else [text]


def _is_encodable(text: str) -> bool:
    """Return whether the system can encode it: YAML can write half a character, which it cannot."""
    try:
        return bool(text.encode("utf-8", "surrogateescape"))
    except UnicodeEncodeError:
        return False


def _address(value: object) -> object:
    return value if isinstance(value, ListenAddress) else parse_listen_address(str(value))


def _url(value: object) -> object:
    if not isinstance(value, str):
        return value
    try:
        parts = urlsplit(value)
        has_host = bool(parts.hostname) and parts.port != 0
    except ValueError as error:
        raise ValueError(_NOT_A_URL) from error
    if not has_host or parts.scheme not in ("http", "https"):
        raise ValueError(_NOT_A_URL)
    # a password that begins with a slash looks like a path, and what precedes it like the host
    if "@" in parts.netloc or "@" in parts.path:
        raise ValueError("holds credentials; use registry.username and registry.password-file")
    if parts.query or parts.fragment:
        raise ValueError("has a query or fragment; give the registry's address alone")
    return value.rstrip("/")


def _dialect(value: object) -> object:
    return int(value) if value in ("2", "3") else value


def _counts(value: object) -> object:
    """Accept one number, several separated by commas, or a list of these."""
    items = value if isinstance(value, list | tuple) else [value]
    parts = [part.strip() for item in items for part in str(item).split(",")]
    if not all(part.isascii() and part.isdigit() and 0 < int(part) <= _MOST_TAGS for part in parts):
        raise ValueError("is not a number of tags above 0; write e.g. 5, or 5,20")
    return tuple(sorted({int(part) for part in parts}))


def _pattern_texts(value: object) -> object:
    """Accept one pattern, one per line, or a list; a pattern may contain commas."""
    items = value if isinstance(value, list | tuple) else [value]
    return [part for item in items for part in (_lines(item) if isinstance(item, str) else [item])]


def _lines(text: str) -> list[str]:
    return [line.strip() for line in text.splitlines() if line.strip()] or [""]


def _pattern(value: object) -> object:
    if isinstance(value, re.Pattern):
        return value
    if not isinstance(value, str):
        raise ValueError("is not a regular expression; write e.g. team/.*")  # noqa: TRY004
    return parse_name_pattern(value)


def _image_prefix(value: object) -> object:
    if not isinstance(value, str) or not _PREFIX.fullmatch(value):
        raise ValueError("is not a part of a repository's name; write e.g. captain")
    return value


def _route_prefix(value: object) -> object:
    """Accept a path with or without slashes around it, as Prometheus does."""
    path = value.strip("/") if isinstance(value, str) else None
    prefix = f"/{path}" if path else ""
    if path is None or not _ROUTE_PREFIX.fullmatch(prefix):
        raise ValueError("is not a path; write e.g. /registry-storage")
    return prefix


Dialect = Annotated[Literal[2, 3], BeforeValidator(_dialect)]
Counts = Annotated[tuple[int, ...], BeforeValidator(_counts)]
NamePattern = Annotated[re.Pattern[str], BeforeValidator(_pattern)]
NamePatterns = Annotated[tuple[NamePattern, ...], BeforeValidator(_pattern_texts)]
ImagePrefix = Annotated[str, BeforeValidator(_image_prefix)]
Duration = Annotated[
    float,
    BeforeValidator(_duration),
    Field(gt=0, le=_LONGEST_SECONDS),
    PlainSerializer(_write_seconds),
]
DurationOrZero = Annotated[
    float,
    BeforeValidator(_duration_or_zero),
    Field(ge=0, le=_LONGEST_SECONDS),
    PlainSerializer(_write_seconds),
]
Seconds = Annotated[
    float,
    BeforeValidator(_seconds),
    Field(ge=0, allow_inf_nan=False),
    PlainSerializer(_write_seconds),
]
Size = Annotated[int, BeforeValidator(_size), Field(gt=0, lt=_MOST_BYTES)]
HistorySize = Annotated[
    int, BeforeValidator(_size), Field(ge=0, lt=_MOST_BYTES), AfterValidator(_history_size)
]
HeaderSize = Annotated[int, BeforeValidator(_size), Field(ge=_LEAST_HEADER, le=_MOST_HEADER)]
Connections = Annotated[int, Field(gt=0, le=_MOST_CONNECTIONS)]
Operations = Annotated[int, Field(gt=0, le=_MOST_OPERATIONS)]
Ratio = Annotated[float, Field(ge=0, le=1)]
Count = Annotated[float, Field(ge=0, allow_inf_nan=False)]
FilePath = Annotated[Path, BeforeValidator(_path)]
FilePaths = Annotated[tuple[FilePath, ...], BeforeValidator(_path_texts)]
RoutePrefix = Annotated[str, BeforeValidator(_route_prefix)]
Url = Annotated[str, BeforeValidator(_url)]
Address = Annotated[ListenAddress, BeforeValidator(_address), PlainSerializer(str)]
