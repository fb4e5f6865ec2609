"""The explorer in a real browser: its looks are seen by people, its promises are checked here."""

import re
import time
from collections.abc import Iterator
from pathlib import Path

import pytest
from playwright.sync_api import Browser

from demo.sample import build_sample, write_captain_config
from tests.browser import WIDTHS, running_browser, sheet
from tests.exporter_process import Exporter
from tests.recorded_history import DAY, RecordedHistory, repository

PAGES = (
    "/",
    "/map",
    "/map?in=captain/img-captain-shop&colour=age",
    "/map?colour=growth",
    "/repositories",
    "/repositories?q=shop&sort=name",
    "/repositories/captain/img-captain-shop?days=7",
    "/issues",
    "/search?q=shop",
    "/search?q=",
    "/nothing",
)
"""Addresses on the sample store."""


@pytest.fixture(scope="module")
def exporter(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Exporter]:
    directory: Path = tmp_path_factory.mktemp("browser")
    now = time.time()
    build_sample(directory / "registry", now)
    write_captain_config(directory / "captain", now)
    path = directory / "state" / "registry-storage-exporter" / "history.sqlite"
    history = RecordedHistory(path, root=str((directory / "registry").resolve()))
    for days in (40, 20, 10):
        history.now = int(now) - days * DAY
        history.record(repository("captain/img-captain-shop", 10**9 // days), avail=10**12)
    history.file.close()
    with Exporter(
        *("--storage.root", directory / "registry"),
        *("--caprover.config-dir", directory / "captain"),
        *("--retention.keep-last", "5", "--storage.limit", "200MB"),
        environment={"XDG_STATE_HOME": str(directory / "state")},
    ) as exporter:
        yield exporter


@pytest.fixture(scope="module")
def browser() -> Iterator[Browser]:
    with running_browser() as browser:
        yield browser


@pytest.mark.parametrize("width", WIDTHS)
def test_pages_fit_every_screen_load_nothing_from_elsewhere_and_log_no_error(
    browser: Browser, exporter: Exporter, width: int
) -> None:
    with sheet(browser, exporter.url, viewport={"width": width, "height": 900}) as opened:
        for path in PAGES:
            assert opened.open(path).overflow == 0, path
        # the browser itself reports the page that is not there
        known = [each for each in opened.complaints if "404 (Not Found)" not in each]
        assert known == []


@pytest.mark.parametrize("scheme", ["light", "dark"])
def test_axe_finds_nothing(browser: Browser, exporter: Exporter, scheme: str) -> None:
    with sheet(browser, exporter.url, color_scheme=scheme) as opened:
        found = {path: opened.open(path).violations() for path in PAGES}
    assert {path: each for path, each in found.items() if each} == {}


def test_axe_would_find_something(browser: Browser, exporter: Exporter) -> None:
    """Else the test before could not fail."""
    with sheet(browser, exporter.url) as opened:
        opened.open("/").page.evaluate(
            "document.querySelector('main').append(document.createElement('button'))"
        )
        found = opened.violations()
    assert [each.partition(":")[0] for each in found] == ["button-name"]


def test_the_slash_key_goes_to_the_search_and_enter_searches(
    browser: Browser, exporter: Exporter
) -> None:
    with sheet(browser, exporter.url) as opened:
        page = opened.open("/").page
        page.keyboard.press("/")
        page.keyboard.type("old-shop")
        page.keyboard.press("Enter")
        page.wait_for_url("**/search?q=old-shop")
        heading = page.inner_text("h1")
    assert heading == "Search: old-shop"


def test_everything_can_be_reached_with_the_keyboard_alone(
    browser: Browser, exporter: Exporter
) -> None:
    with sheet(browser, exporter.url) as opened:
        page = opened.open("/repositories").page
        focused = []
        for _ in range(60):
            page.keyboard.press("Tab")
            focused.append(page.evaluate("document.activeElement.textContent.trim()"))
            assert page.evaluate(
                "getComputedStyle(document.activeElement).outlineStyle != 'none'"
                " || document.activeElement == document.body"
            ), focused[-1]
    assert focused[0] == "Skip to content"
    for name in ("Overview", "Exclusive", "captain/img-captain-shop"):
        assert name in focused


def test_tiles_of_a_map_are_focused_in_their_order_of_size_and_open(
    browser: Browser, exporter: Exporter
) -> None:
    with sheet(browser, exporter.url) as opened:
        page = opened.open("/map").page
        page.get_by_role("link", name="growth in 7 days").focus()
        focused = []
        for _ in range(4):
            page.keyboard.press("Tab")
            focused.append(page.evaluate("document.activeElement.querySelector('title').innerHTML"))
        page.keyboard.press("Shift+Tab")
        page.keyboard.press("Shift+Tab")
        page.keyboard.press("Shift+Tab")
        page.keyboard.press("Enter")
        page.wait_for_url("**/map?in=captain%2F")
    sizes = [re.findall(r"\(([\d,]+) bytes\)", each)[0].replace(",", "") for each in focused]
    assert sorted(map(int, sizes), reverse=True) == list(map(int, sizes))
    assert focused[0].startswith("captain/: 5 repositories")


@pytest.mark.parametrize(("width", "shown"), [(1440, "wide"), (390, "narrow")])
def test_a_map_is_drawn_for_the_screen_and_printed_wide(
    browser: Browser, exporter: Exporter, width: int, shown: str
) -> None:
    with sheet(browser, exporter.url, viewport={"width": width, "height": 900}) as opened:
        page = opened.open("/map").page
        pictures = page.locator("svg.map:visible")
        classes = pictures.evaluate_all("all => all.map(each => each.classList[1])")
        page.emulate_media(media="print")
        printed = pictures.evaluate_all("all => all.map(each => each.classList[1])")
    assert (classes, printed) == ([shown], ["wide"])


@pytest.mark.parametrize(("width", "shown"), [(1440, "wide"), (390, "narrow")])
def test_growth_is_drawn_for_the_screen_and_printed_wide(
    browser: Browser, exporter: Exporter, width: int, shown: str
) -> None:
    with sheet(browser, exporter.url, viewport={"width": width, "height": 900}) as opened:
        page = opened.open("/repositories/captain/img-captain-shop").page
        pictures = page.locator("figure > svg:visible")
        classes = pictures.evaluate_all("all => all.map(each => each.classList[0])")
        names = pictures.evaluate_all(
            "all => all.map(each => each.getAttribute('aria-labelledby').split(' ')"
            ".map(id => document.getElementById(id).textContent))"
        )
        page.emulate_media(media="print")
        printed = pictures.evaluate_all("all => all.map(each => each.classList[0])")
        table = page.locator(".extents:visible").inner_text()
    assert (classes, printed) == ([shown], ["wide"])
    assert names[0][0] == "Bytes, last 30 days"
    assert "Size: 23.8 MiB at " in names[0][1]
    assert "at most 95.4 MiB at " in names[0][1]
    assert re.search(r"Most\s+47.7 MiB\s+[-0-9: ]+\s+95.4 MiB", table)


def test_the_period_of_growth_can_be_chosen_with_the_keyboard(
    browser: Browser, exporter: Exporter
) -> None:
    with sheet(browser, exporter.url) as opened:
        page = opened.open("/").page
        page.get_by_role("link", name="7 days", exact=True).focus()
        page.keyboard.press("Tab")
        page.keyboard.press("Tab")
        page.keyboard.press("Enter")
        page.wait_for_url("**/?days=365#grew")
        pictures = page.get_by_role("img", name="last 365 days")
        assert pictures.count() == 2


def test_pages_work_without_javascript(browser: Browser, exporter: Exporter) -> None:
    with sheet(browser, exporter.url, java_script_enabled=False) as opened:
        page = opened.open("/repositories").page
        page.select_option("select[name=use]", "orphaned")
        page.click("form.filters button")
        names = page.locator("tbody th a").all_inner_texts()
        page.click("thead a:has-text('Tags')")
        address = page.url
    assert names == ["captain/img-captain-old-shop"]
    assert re.search(r"use=orphaned&sort=tags$", address)


def test_a_choice_in_a_filter_is_applied_at_once(browser: Browser, exporter: Exporter) -> None:
    with sheet(browser, exporter.url) as opened:
        page = opened.open("/repositories").page
        page.select_option("select[name=use]", "unmanaged")
        page.wait_for_url("**use=unmanaged**")
        names = page.locator("tbody th a").all_inner_texts()
    assert names == ["tools/backup"]


def test_printed_pages_show_the_content_alone(browser: Browser, exporter: Exporter) -> None:
    with sheet(browser, exporter.url) as opened:
        page = opened.open("/").page
        page.emulate_media(media="print")
        shown = {
            name: page.locator(selector).first.is_visible()
            for name, selector in (("search", ".search"), ("menu", "nav"), ("bar", "svg.bar"))
        }
    assert shown == {"search": False, "menu": False, "bar": True}
