"""The explorer in a real browser: its looks are seen by people, its promises are checked here."""

import re
from collections.abc import Iterator

import pytest
from playwright.sync_api import Browser

from exporter.web.explorer.routes import PAGES
from tests.browser import WIDTHS, Sheet, running_browser, sheet
from tests.explorer_sample import SHOP, Sample, build, record_history, route_of
from tests.exporter_process import Exporter

FILES = {"/clean-up/plan", "/repositories/{name:path}/_plan"}
"""Of the pages, those that are a file to save; a browser shows them if something is wrong."""

PRINTED_WIDTH = 718
"""A4 with usual margins, in CSS pixels."""

OF_LOOKS = "color-contrast", "link-in-text-block", "scrollable-region-focusable"
"""Rules of axe that depend on colours and widths."""

FITS = dict.fromkeys(WIDTHS, 0)

FOCUS = """() => {
  const all = [...document.querySelectorAll("a[href], button, input, select, summary, [tabindex]")];
  const reached = all.filter(each =>
    each.type != "hidden" && each.tabIndex >= 0 && each.checkVisibility());
  window.seen = new Map();
  document.addEventListener("focusin", ({target}) => {
    const {outlineStyle, outlineWidth} = getComputedStyle(target);
    const box = target.getBoundingClientRect();
    const isOnScreen = box.right > 0 && box.left < innerWidth && box.bottom > 0
      && box.top < innerHeight;
    window.seen.set(target, outlineStyle != "none" && parseFloat(outlineWidth) >= 2 && isOnScreen);
  });
  window.reached = reached;
  return reached.length;
}"""
"""Count what can have the focus, and note what gets it, and whether that is seen."""

UNSEEN = """() => window.reached
  .filter(each => !window.seen.get(each)).map(each => each.outerHTML.slice(0, 200))"""


@pytest.fixture(scope="module")
def sample(tmp_path_factory: pytest.TempPathFactory) -> Sample:
    return build(tmp_path_factory.mktemp("browser"))


@pytest.fixture(scope="module")
def exporter(sample: Sample, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Exporter]:
    kept = ("--retention.keep-last", "5", "--storage.limit", "200MB")
    state = tmp_path_factory.mktemp("state")
    record_history(sample, state)
    environment = {"XDG_STATE_HOME": str(state)}
    with Exporter(*sample.flags, *kept, environment=environment) as exporter:
        yield exporter


@pytest.fixture(scope="module")
def browser() -> Iterator[Browser]:
    with running_browser() as browser:
        yield browser


def unknown(opened: Sheet) -> list[str]:
    """Return what a browser complains of, but for the status of pages that are not there."""
    status = re.compile(r"status of (400 \(Bad Request\)|404 \(Not Found\))")
    return [each for each in opened.complaints if not status.search(each)]


def test_every_page_of_the_explorer_is_looked_at(sample: Sample) -> None:
    pages = sample.pages()
    shown = {route_of(path) for path, status in pages.items() if status == 200}
    assert shown == set(PAGES) - FILES
    assert {route_of(path) for path in pages} == {*PAGES, None}


def test_pages_fit_every_screen_load_nothing_from_elsewhere_and_log_no_error(
    browser: Browser, sample: Sample, exporter: Exporter
) -> None:
    with sheet(browser, exporter.url) as opened:
        for path in sample.pages():
            opened.open(path)
            assert {width: opened.overflow_at(width) for width in WIDTHS} == FITS, path
        assert unknown(opened) == []


def test_axe_finds_nothing_in_light_and_in_dark(
    browser: Browser, sample: Sample, exporter: Exporter
) -> None:
    found = {}
    with sheet(browser, exporter.url) as opened:
        for path in sample.pages():
            opened.page.emulate_media(color_scheme="light")
            opened.page.set_viewport_size({"width": max(WIDTHS), "height": 900})
            found[path] = opened.open(path).violations()
            opened.page.emulate_media(color_scheme="dark")
            opened.page.set_viewport_size({"width": min(WIDTHS), "height": 900})
            found[path] += opened.violations(*OF_LOOKS)
    assert {path: each for path, each in found.items() if each} == {}


@pytest.mark.parametrize("width", [1440, 390])
def test_everything_on_a_page_is_reached_with_the_keyboard_alone_and_the_focus_is_seen(
    browser: Browser, sample: Sample, exporter: Exporter, width: int
) -> None:
    paths = sample.pages() if width == max(WIDTHS) else ("/", "/map", f"/repositories/{SHOP}")
    unseen = {}
    with sheet(browser, exporter.url, viewport={"width": width, "height": 900}) as opened:
        for path in paths:
            page = opened.open(path).page
            # what scrolls may be reached too
            for _ in range(page.evaluate(FOCUS) + page.locator(".scroll, pre").count()):
                page.keyboard.press("Tab")
            unseen[path] = page.evaluate(UNSEEN)
    assert {path: each for path, each in unseen.items() if each} == {}


_NUMBER = re.compile(r"\d[\d.,]*")


def test_pages_show_the_same_without_javascript(
    browser: Browser, sample: Sample, exporter: Exporter
) -> None:
    with (
        sheet(browser, exporter.url) as scripted,
        sheet(browser, exporter.url, java_script_enabled=False) as plain,
    ):
        for path in sample.pages():
            scripted.open(path).page.evaluate(
                "document.querySelectorAll('.copy').forEach(each => each.remove())"
            )
            plain.open(path)
            first, second = (
                re.sub(r"just now|\S+ ago", "", each.page.inner_text("main"))
                for each in (scripted, plain)
            )
            if path == "/":  # its figures of the disk change while other tests write
                first, second = (_NUMBER.sub("#", each) for each in (first, second))
            assert first == second, path
            buttons = plain.page.locator("form").evaluate_all(
                "all => all.map(each => each.querySelectorAll('button').length)"
            )
            assert set(buttons) == {1}, path


def test_printed_pages_show_the_content_alone_and_all_of_it(
    browser: Browser, sample: Sample, exporter: Exporter
) -> None:
    with sheet(browser, exporter.url) as opened:
        opened.page.emulate_media(media="print")
        for path in sample.pages():
            page = opened.open(path).page
            hidden = page.locator(".top nav, .search, .filters, .pager, .copy, .skip")
            assert not any(hidden.evaluate_all("all => all.map(each => each.checkVisibility())"))
            assert page.locator("h1").is_visible(), path
            assert page.get_by_text("Figures of ").is_visible(), path
            assert opened.overflow_at(PRINTED_WIDTH) == 0, path


def test_paper_is_light_for_a_reader_who_likes_dark_too(
    browser: Browser, exporter: Exporter
) -> None:
    ground = "getComputedStyle(document.body).backgroundColor"
    with sheet(browser, exporter.url, color_scheme="dark") as opened:
        page = opened.open("/").page
        shown = page.evaluate(ground)
        page.emulate_media(media="print")
        assert (shown, page.evaluate(ground)) == ("rgb(20, 24, 29)", "rgb(255, 255, 255)")


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
