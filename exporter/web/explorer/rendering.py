"""From a template to an answer: escaping, security headers, compression."""

import gzip
import hashlib
from collections.abc import Mapping
from dataclasses import dataclass, field
from importlib.resources import files
from typing import Any

from jinja2 import BaseLoader, Environment, StrictUndefined, TemplateNotFound
from starlette.requests import Request
from starlette.responses import Response

from exporter import __version__
from exporter.domain.text import plural
from exporter.metrics.exposition import accepts_gzip
from exporter.web.explorer import wording
from exporter.web.explorer.links import Links

HTML = "text/html; charset=utf-8"
TEXT = "text/plain; charset=utf-8"
_COMPRESSION = 5
_SMALL = 1000
_YEAR_SECONDS = 365 * 86400

SECURITY_HEADERS = {
    "Content-Security-Policy": (
        "default-src 'none'; style-src 'self'; script-src 'self'; img-src 'self'; "
        "form-action 'self'; base-uri 'none'; frame-ancestors 'none'"
    ),
    "X-Content-Type-Options": "nosniff",
    "Referrer-Policy": "no-referrer",
    "Cross-Origin-Opener-Policy": "same-origin",
    "Cross-Origin-Resource-Policy": "same-origin",
}
"""Pages load nothing from elsewhere, run no inline script, and are shown in no frame."""

_FILTERS = (
    "size",
    "growth",
    "count",
    "percent",
    "age",
    "duration",
    "moment",
    "minute",
    "mark",
    "day",
    "short",
)

_STATIC_TYPES = {
    "style.css": "text/css; charset=utf-8",
    "explorer.js": "text/javascript; charset=utf-8",
    "icon.svg": "image/svg+xml",
}


@dataclass(frozen=True, slots=True)
class Page:
    """What a page shows.

    Attributes:
        template: its file.
        title: of the window.
        values: what the template reads.
        status: of the answer.

    """

    template: str
    title: str
    values: Mapping[str, object] = field(default_factory=dict)
    status: int = 200


@dataclass(frozen=True, slots=True)
class Download:
    """A text to save as a file.

    Attributes:
        name: of the file; letters, digits, dots and dashes.
        text: its content.

    """

    name: str
    text: str


@dataclass(frozen=True, slots=True)
class Redirect:
    """Another address that has the answer."""

    address: str


@dataclass(frozen=True, slots=True)
class StaticFile:
    """A file that never changes under its name.

    Attributes:
        content: its bytes.
        media_type: its type.

    """

    content: bytes
    media_type: str


class _Templates(BaseLoader):
    """Reads the templates of this package, also from a zip file."""

    def get_source(self, _: Environment, template: str) -> tuple[str, None, None]:
        file = files(__package__).joinpath("templates", template)
        if not file.is_file():
            raise TemplateNotFound(template)
        return file.read_text(encoding="utf-8"), None, None


class Renderer:
    """Renders pages.

    Attributes:
        links: writes addresses.
        static: the files that pages load, by a name that changes with their content.

    """

    def __init__(self, links: Links) -> None:
        self.links = links
        self.static: dict[str, StaticFile] = {}
        names = {name: self._load(name, kind) for name, kind in _STATIC_TYPES.items()}
        self._environment = Environment(
            loader=_Templates(),
            autoescape=True,
            undefined=StrictUndefined,
            trim_blocks=True,
            lstrip_blocks=True,
        )
        filters: Mapping[str, Any] = {name: getattr(wording, name) for name in _FILTERS}
        self._environment.filters.update(filters)
        self._environment.globals.update(
            links=links,
            plural=plural,
            parts=wording.PARTS,
            meanings=wording.MEANINGS,
            static={name: links.to(f"/static/{full}") for name, full in names.items()},
            version=__version__,
        )

    def respond(self, request: Request, page: Page) -> Response:
        """Return the answer with a page."""
        text = self._environment.get_template(page.template).render(title=page.title, **page.values)
        return respond(request, text.encode(), HTML, page.status, {"Cache-Control": "no-cache"})

    def respond_download(self, request: Request, file: Download) -> Response:
        """Return the answer with a text to save."""
        headers = {
            "Cache-Control": "no-cache",
            "Content-Disposition": f'attachment; filename="{file.name}"',
        }
        return respond(request, file.text.encode(), TEXT, 200, headers)

    def _load(self, name: str, media_type: str) -> str:
        content = files(__package__).joinpath("static", name).read_bytes()
        stem, _, suffix = name.rpartition(".")
        full = f"{stem}.{hashlib.sha256(content).hexdigest()[:12]}.{suffix}"
        self.static[full] = StaticFile(content, media_type)
        return full

    def respond_static(self, request: Request, name: str) -> Response | None:
        """Return the answer with a static file; None if there is none of that name."""
        file = self.static.get(name)
        if file is None:
            return None
        caching = {"Cache-Control": f"public, max-age={_YEAR_SECONDS}, immutable"}
        return respond(request, file.content, file.media_type, 200, caching)


def respond(
    request: Request, body: bytes, media_type: str, status: int, headers: Mapping[str, str]
) -> Response:
    """Return an answer, compressed if the client accepts that."""
    sent = {**SECURITY_HEADERS, **headers, "Vary": "Accept-Encoding", "Content-Type": media_type}
    if len(body) > _SMALL and accepts_gzip(request.headers.get("accept-encoding", "")):
        body = gzip.compress(body, _COMPRESSION, mtime=0)
        sent["Content-Encoding"] = "gzip"
    return Response(body, status, sent)
