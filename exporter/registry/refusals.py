"""What a registry says when it refuses something: its error codes, and errors with advice."""

import httpx
import msgspec

from exporter.domain.errors import (
    ApiUnavailableError,
    ContentRefusedError,
    ExporterError,
    RegistryRefusesError,
)
from exporter.domain.text import printable
from exporter.registry.http import Answer, shown, status_error

_MAX_SHOWN = 300
_MAX_CODE = 60
_CONTENT_STATUSES = frozenset(
    {
        httpx.codes.BAD_REQUEST,
        httpx.codes.NOT_FOUND,
        httpx.codes.REQUEST_ENTITY_TOO_LARGE,
        httpx.codes.REQUESTED_RANGE_NOT_SATISFIABLE,
        httpx.codes.UNPROCESSABLE_ENTITY,
    }
)
_API_VERSION = "docker-distribution-api-version"
_DELETION_REMEDY = (
    "set REGISTRY_STORAGE_DELETE_ENABLED=true (storage.delete.enabled in its configuration) "
    "and restart it; a pull-through cache never allows it"
)


class _Error(msgspec.Struct):
    code: str = ""
    message: str = ""


class _Errors(msgspec.Struct):
    errors: list[_Error] = []


def error_codes(answer: Answer) -> list[tuple[str, str]]:
    """Return each code of an answer with its message; none if the registry did not write it."""
    try:
        errors = msgspec.json.decode(answer.body, type=_Errors).errors
    except (msgspec.DecodeError, UnicodeDecodeError, RecursionError):
        return []
    return [(_short(each.code, _MAX_CODE), _short(each.message, _MAX_SHOWN)) for each in errors]


def _short(text: str, most: int) -> str:
    return printable(text[:most])[:most]


def is_unsupported(answer: Answer) -> bool:
    """Return whether the registry itself refuses it; a 405 of read-only mode has no such body."""
    return any(code == "UNSUPPORTED" for code, _ in error_codes(answer))


def is_absence(answer: Answer) -> bool:
    """Return whether a 404 is the registry's own: what was asked for does not exist.

    A proxy or another service answers 404 to everything. An answer to HEAD has no body.
    """
    if answer.status != httpx.codes.NOT_FOUND:
        return False
    is_json = answer.headers.get("content-type", "").startswith("application/json")
    return bool(error_codes(answer)) or (
        not answer.body and (is_json or _API_VERSION in answer.headers)
    )


def refusal_of(answer: Answer, method: str, login_refusal: str) -> ExporterError:
    """Return the error for an answer that is neither wanted nor passing.

    ``login_refusal`` explains a 401 or 403.
    """
    place, said = shown(answer.url), _said(answer)
    if answer.status in {httpx.codes.UNAUTHORIZED, httpx.codes.FORBIDDEN}:
        return RegistryRefusesError(
            f"{place} answered {answer.status} to {method}{said}: {login_refusal}"
        )
    if answer.status == httpx.codes.METHOD_NOT_ALLOWED:
        remedy = "it is read-only now, or a proxy in front of it refuses the method"
        if is_unsupported(answer) and method == "DELETE":
            remedy = f"the registry does not allow deletions; {_DELETION_REMEDY}"
        elif is_unsupported(answer):
            remedy = "the registry accepts no content; a pull-through cache never does"
        return RegistryRefusesError(f"{place} answered 405 to {method}{said}: {remedy}")
    if answer.status in _CONTENT_STATUSES and method in {"PUT", "POST"}:
        codes = error_codes(answer)
        return ContentRefusedError(
            f"{place} answered {answer.status}{said}{_content_remedy(answer)}",
            codes[0][0] if codes else "",
        )
    error = status_error(answer, login_refusal)
    return ApiUnavailableError(f"{error}{said}") if said else error


def _content_remedy(answer: Answer) -> str:
    if answer.status == httpx.codes.REQUEST_ENTITY_TOO_LARGE:
        return "; raise the size that the proxy in front of the registry allows"
    if answer.status == httpx.codes.NOT_FOUND and not error_codes(answer):
        return "; check that --registry.url leads to the registry itself"
    return ""


def _said(answer: Answer) -> str:
    """Return the registry's own words, in parentheses."""
    words = [f"{code}: {message}" if message else code for code, message in error_codes(answer)]
    return f" ({'; '.join(words[:3])})" if words else ""
