"""The OpenAPI document, written from the endpoints."""

import re
from collections.abc import Sequence

import msgspec

from exporter import __version__
from exporter.web.api.endpoint import Endpoint, Schema

_PLACE = re.compile(r"\{(\w+)(?::path)?\}")
_REFERENCE = "#/components/schemas/{name}"
_PROBLEMS = {
    "400": "a parameter is wrong",
    "404": "there is nothing of that name",
    "503": "no scan of the store has succeeded yet",
}
_BUSY = ", or others that take as long are being computed"
_WAITS: Schema = {
    "headers": {
        "Retry-After": {
            "description": "in seconds; only if others are being computed",
            "schema": {"type": "integer"},
        }
    }
}
_PROBLEM: Schema = {
    "type": "object",
    "description": "Why a request cannot be answered (RFC 9457).",
    "required": ["type", "title", "status", "detail"],
    "properties": {
        "type": {"type": "string"},
        "title": {"type": "string"},
        "status": {"type": "integer"},
        "detail": {"type": "string"},
    },
}


def openapi(endpoints: Sequence[Endpoint], root: str) -> Schema:
    """Return the document; ``root`` is the address of the API's root."""
    results = [each.result for each in endpoints]
    schemas, components = msgspec.json.schema_components(results, ref_template=_REFERENCE)
    paths = {
        _PLACE.sub(r"{\1}", endpoint.path): {"get": _operation(endpoint, schema)}
        for endpoint, schema in zip(endpoints, schemas, strict=True)
    }
    return {
        "openapi": "3.1.0",
        "info": {
            "title": "Registry storage exporter",
            "version": __version__,
            "description": (
                "What the explorer's pages show, of the last scan. Sizes are bytes, times Unix "
                "seconds; null is unknown. Fields may be added; none changes its meaning within "
                "a version of the path."
            ),
        },
        "servers": [{"url": root}],
        "paths": paths,
        "components": {"schemas": {**components, "ProblemDetails": _PROBLEM}},
    }


def _operation(endpoint: Endpoint, schema: Schema) -> Schema:
    places = _PLACE.findall(endpoint.path)
    parameters: list[Schema] = [
        {
            "name": each,
            "in": "path",
            "description": endpoint.place,
            "required": True,
            "schema": {"type": "string"},
        }
        for each in places
    ]
    parameters += [
        {
            "name": each.name,
            "in": "query",
            "description": each.meaning,
            "required": each.name in endpoint.required,
            "schema": each.schema(),
        }
        for each in endpoint.parameters
    ]
    may_miss = places or endpoint.names_a_place
    known = {code: text for code, text in _PROBLEMS.items() if may_miss or code != "404"}
    if endpoint.is_laborious:
        known["503"] += _BUSY
    return {
        "summary": endpoint.summary,
        "operationId": "_".join(["get", *re.findall(r"\w+", _PLACE.sub(r"\1", endpoint.path))]),
        "parameters": parameters,
        "responses": {
            "200": {
                "description": endpoint.summary,
                "headers": {
                    "ETag": {
                        "description": "changes with the figures",
                        "schema": {"type": "string"},
                    },
                    "Last-Modified": {
                        "description": "when the last scan ended",
                        "schema": {"type": "string"},
                    },
                },
                "content": {"application/json": {"schema": schema}},
            },
            "304": {"description": "nothing has changed since the ETag of If-None-Match"},
            **{
                code: {
                    "description": text,
                    **(_WAITS if endpoint.is_laborious and code == "503" else {}),
                    "content": {
                        "application/problem+json": {
                            "schema": {"$ref": _REFERENCE.format(name="ProblemDetails")}
                        }
                    },
                }
                for code, text in known.items()
            },
        },
    }
