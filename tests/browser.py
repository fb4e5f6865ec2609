"""A real browser for tests: Debian's Chromium, driven by Playwright."""

import os
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from typing import Any

from axe_playwright_python.base import AXE_SCRIPT  # type: ignore[import-untyped]
from playwright.sync_api import Browser, BrowserContext, Page, sync_playwright

from tests.servers import require

WIDTHS = (1440, 1024, 390)
"""Of a large screen, a small one, and a phone, in CSS pixels."""

_PATIENCE_MILLISECONDS = 30_000


@dataclass(slots=True)
class Sheet:
    """An open page, and what the browser complained of.

    Attributes:
        page: Playwright's page.
        origin: the only one that it may load from.
        complaints: messages on the console, errors of scripts, requests to other origins.

    """

    page: Page
    origin: str
    complaints: list[str] = field(default_factory=list)

    def open(self, path: str) -> "Sheet":
        """Go to an address of the origin and wait until it is loaded."""
        self.page.goto(f"{self.origin}{path}", wait_until="load")
        return self

    @property
    def overflow(self) -> int:
        """How many pixels the page is wider than its window."""
        width: int = self.page.evaluate(
            "document.documentElement.scrollWidth - document.documentElement.clientWidth"
        )
        return width

    def overflow_at(self, width: int) -> int:
        """How many pixels the page is wider than a window of ``width``, once it has that."""
        self.page.set_viewport_size({"width": width, "height": 900})
        return self.overflow

    def violations(self, *rules: str) -> list[str]:
        """Return what axe-core finds against WCAG 2.2 AA, or some rules: rule and elements."""
        if not self.page.evaluate("'axe' in window"):
            self.page.evaluate(AXE_SCRIPT)
        chosen = {"resultTypes": ["violations"], **({"runOnly": list(rules)} if rules else {})}
        found: dict[str, Any] = self.page.evaluate("chosen => axe.run(chosen)", chosen)
        return [
            f"{each['id']}: {[node['html'][:200] for node in each['nodes'][:3]]}"
            for each in found["violations"]
        ]


@contextmanager
def running_browser() -> Iterator[Browser]:
    """Start Chromium; skip the test without it."""
    chromium = require("chromium")
    # its sandbox needs rights that containers do not have; it loads pages of our own only
    arguments = ["--no-sandbox"] if os.getuid() == 0 else []
    with sync_playwright() as playwright:
        browser = playwright.chromium.launch(executable_path=chromium, args=arguments)
        try:
            yield browser
        finally:
            browser.close()


@contextmanager
def sheet(browser: Browser, origin: str, **options: Any) -> Iterator[Sheet]:  # noqa: ANN401 - Playwright's
    """Open an empty page; ``options`` are those of Playwright's ``new_context``."""
    context: BrowserContext = browser.new_context(**options)
    context.set_default_timeout(_PATIENCE_MILLISECONDS)
    opened = Sheet(context.new_page(), origin)
    complaints = opened.complaints
    opened.page.on("console", lambda message: complaints.append(f"console: {message.text}"))
    opened.page.on("pageerror", lambda error: complaints.append(f"script: {error}"))

    def note(url: str) -> None:
        if not url.startswith(f"{origin}/"):
            complaints.append(f"elsewhere: {url}")

    opened.page.on("request", lambda request: note(request.url))
    try:
        yield opened
    finally:
        context.close()
