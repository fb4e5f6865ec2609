"""The explorer's addresses, and how each is answered."""

import time
from collections.abc import Awaitable, Callable, Mapping
from functools import partial

from anyio import CapacityLimiter, to_thread
from starlette.requests import Request
from starlette.responses import RedirectResponse, Response

from exporter.domain.errors import NotReadYetError
from exporter.views.snapshot_view import SnapshotView, Viewer
from exporter.web.explorer.pages import (
    blob,
    clean_up,
    image,
    issues,
    overview,
    repositories,
    repository,
    search,
)
from exporter.web.explorer.pages import map as store_map
from exporter.web.explorer.parameters import BadParameterError, Parameters
from exporter.web.explorer.question import NothingThereError, PageMaker, Question
from exporter.web.explorer.rendering import SECURITY_HEADERS, Download, Page, Redirect, Renderer
from exporter.web.explorer.turns import RETRY_AFTER, BusyError, Turns

Answer = Callable[[Request], Awaitable[Response]]

PAGES: Mapping[str, PageMaker] = {
    "/": overview.make,
    "/map": store_map.make,
    "/repositories": repositories.make,
    # no part of a repository's name begins with "_"
    "/repositories/{name:path}/_plan": repository.make_plan,
    "/repositories/{name:path}": repository.make,
    "/images/{digest}": image.make,
    "/blobs/{digest}": blob.make,
    "/issues": issues.make,
    "/search": search.make,
    "/clean-up": clean_up.make,
    "/clean-up/plan": clean_up.make_plan,
}
"""Every page, by its address; the first that fits answers."""

LABORIOUS = frozenset({"/clean-up", "/clean-up/plan"})
"""Pages that may take seconds: they are made in turns."""


class Explorer:
    """Answers requests for pages."""

    def __init__(
        self,
        viewer: Viewer,
        renderer: Renderer,
        location: str,
        limiter: CapacityLimiter,
        turns: Turns,
    ) -> None:
        """Show what ``viewer`` sees, in the threads of ``limiter``; ``location`` is the store's.

        Laborious pages are made in ``turns``.
        """
        self._viewer = viewer
        self._renderer = renderer
        self._location = location
        self._limiter = limiter
        self._turns = turns

    def pages(self) -> list[tuple[str, Answer]]:
        """Return the path of each page and of the files that they load, and what answers it."""
        pages = [
            (path, self._laborious_endpoint(make) if path in LABORIOUS else self._endpoint(make))
            for path, make in PAGES.items()
        ]
        return [*pages, ("/static/{name}", self._static)]

    async def not_found(self, request: Request, _: Exception) -> Response:
        """Answer a request for an address that does not exist."""

        def answer() -> Response:
            text = "there is no such page"
            return self._respond(request, self._viewer.view(), _missing(text), time.time())

        return await to_thread.run_sync(answer, limiter=self._limiter)

    async def _static(self, request: Request) -> Response:
        answer = self._renderer.respond_static(request, request.path_params["name"])
        return answer or Response(status_code=404)

    def _endpoint(self, make: PageMaker) -> Answer:
        async def endpoint(request: Request) -> Response:
            return await to_thread.run_sync(self._answer, request, make, limiter=self._limiter)

        return endpoint

    def _laborious_endpoint(self, make: PageMaker) -> Answer:
        async def endpoint(request: Request) -> Response:
            try:
                return await self._turns.compute(request, partial(self._answer, request, make))
            except BusyError as error:
                busy = partial(self._busy, request, str(error))
                return await to_thread.run_sync(busy, limiter=self._limiter)

        return endpoint

    def _busy(self, request: Request, reason: str) -> Response:
        page = Page("problem.html", "Busy", {"reason": reason}, 503)
        answer = self._respond(request, self._viewer.view(), page, time.time())
        answer.headers.update(RETRY_AFTER)
        return answer

    def _answer(self, request: Request, make: PageMaker) -> Response:
        view, now = self._viewer.view(), time.time()
        page: Page | Download | Redirect
        try:
            parameters, links = Parameters(request.query_params), self._renderer.links
            page = make(Question(view, request.path_params, parameters, links, now))
        except NotReadYetError as error:
            page = Page("starting.html", "Starting", {"reason": str(error)}, 503)
        except NothingThereError as error:
            page = _missing(str(error), error.suggestions)
        except BadParameterError as error:
            page = Page("problem.html", "Wrong address", {"reason": str(error)}, 400)
        if isinstance(page, Download):
            return self._renderer.respond_download(request, page)
        if isinstance(page, Redirect):
            return RedirectResponse(page.address, 302, SECURITY_HEADERS)
        return self._respond(request, view, page, now)

    def _respond(self, request: Request, view: SnapshotView, page: Page, now: float) -> Response:
        frame = {
            "path": request.url.path,
            "now": now,
            "scan": view.snapshot.scan,
            "progress": view.progress,
            "location": self._location,
        }
        whole = Page(page.template, page.title, {**frame, **page.values}, page.status)
        return self._renderer.respond(request, whole)


def _missing(reason: str, suggestions: Mapping[str, str] | None = None) -> Page:
    values = {"reason": reason, "suggestions": suggestions or {}}
    return Page("missing.html", "Not found", values, 404)
