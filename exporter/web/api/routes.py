"""Answers requests for the API: JSON, ETags, and problems as RFC 9457 has them."""

import secrets
import time
from collections.abc import Mapping
from email.utils import formatdate
from functools import partial
from http import HTTPStatus

import msgspec
from anyio import CapacityLimiter, to_thread
from starlette.requests import Request
from starlette.responses import Response

from exporter.domain.errors import NotReadYetError
from exporter.views.snapshot_view import Viewer
from exporter.web.api.endpoint import Endpoint
from exporter.web.api.endpoints import ENDPOINTS
from exporter.web.api.openapi import openapi
from exporter.web.explorer.links import Links
from exporter.web.explorer.parameters import BadParameterError, Parameters
from exporter.web.explorer.question import NothingThereError, Question
from exporter.web.explorer.rendering import respond
from exporter.web.explorer.routes import Answer
from exporter.web.explorer.turns import RETRY_AFTER, BusyError, Turns

ROOT = "/api/v1"

_JSON = "application/json"
_PROBLEM = "application/problem+json"
_FRESH = {"Cache-Control": "no-cache"}


class Api:
    """Answers for what the explorer's pages show, as JSON."""

    def __init__(
        self, viewer: Viewer, links: Links, limiter: CapacityLimiter, turns: Turns
    ) -> None:
        """Answer with what ``viewer`` sees, in the threads of ``limiter``.

        Laborious answers are computed in ``turns``, with those of the pages.
        """
        self._viewer = viewer
        self._links = links
        self._limiter = limiter
        self._turns = turns
        self._run = secrets.token_hex(4)
        self._document = msgspec.json.encode(openapi(ENDPOINTS, links.to(ROOT)))

    def pages(self) -> list[tuple[str, Answer]]:
        """Return the path of each endpoint, and what answers it."""
        endpoints = [(f"{ROOT}{each.path}", self._endpoint(each)) for each in ENDPOINTS]
        return [*endpoints, (f"{ROOT}/openapi.json", self._openapi)]

    async def not_found(self, request: Request, _: Exception) -> Response:
        """Answer a request for an address below the root that does not exist."""
        text = f"there is no such endpoint; see {self._links.to(f'{ROOT}/openapi.json')}"
        return _problem(request, HTTPStatus.NOT_FOUND, text)

    async def _openapi(self, request: Request) -> Response:
        return respond(request, self._document, _JSON, HTTPStatus.OK, _FRESH)

    def _endpoint(self, endpoint: Endpoint) -> Answer:
        async def answer(request: Request) -> Response:
            return await to_thread.run_sync(self._answer, request, endpoint, limiter=self._limiter)

        async def answer_in_turn(request: Request) -> Response:
            try:
                return await self._turns.compute(request, partial(self._answer, request, endpoint))
            except BusyError as error:
                status = HTTPStatus.SERVICE_UNAVAILABLE
                return _problem(request, status, str(error), RETRY_AFTER)

        return answer_in_turn if endpoint.is_laborious else answer

    def _answer(self, request: Request, endpoint: Endpoint) -> Response:
        view = self._viewer.view()
        tag = f'W/"{self._run}-{view.revision}"'
        if tag in _tags(request.headers):
            return Response(status_code=HTTPStatus.NOT_MODIFIED, headers={"ETag": tag, **_FRESH})
        parameters = Parameters(request.query_params)
        question = Question(view, request.path_params, parameters, self._links, time.time())
        try:
            body = msgspec.json.encode(endpoint.answer(question))
        except NotReadYetError as error:
            return _problem(request, HTTPStatus.SERVICE_UNAVAILABLE, str(error))
        except NothingThereError as error:
            return _problem(request, HTTPStatus.NOT_FOUND, _with_suggestions(error))
        except BadParameterError as error:
            return _problem(request, HTTPStatus.BAD_REQUEST, str(error))
        headers = {"ETag": tag, **_FRESH}
        scanned_at = view.snapshot.scan.last_success_at
        if scanned_at is not None:
            headers["Last-Modified"] = formatdate(scanned_at, usegmt=True)
        return respond(request, body, _JSON, HTTPStatus.OK, headers)


def _tags(headers: Mapping[str, str]) -> list[str]:
    return [each.strip() for each in headers.get("if-none-match", "").split(",")]


def _with_suggestions(error: NothingThereError) -> str:
    names = ", ".join(error.suggestions)
    return f"{error}; did you mean: {names}" if names else str(error)


def _problem(
    request: Request, status: HTTPStatus, detail: str, headers: Mapping[str, str] | None = None
) -> Response:
    problem = {
        "type": "about:blank",
        "title": status.phrase,
        "status": int(status),
        "detail": detail,
    }
    sent = {**_FRESH, **(headers or {})}
    return respond(request, msgspec.json.encode(problem), _PROBLEM, status, sent)
