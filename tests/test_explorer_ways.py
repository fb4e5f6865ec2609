"""The ways that an operator goes through the explorer, in a real browser."""

import json
import re
from collections.abc import Iterator
from pathlib import Path
from urllib.parse import urlsplit

import pytest
from playwright.sync_api import Browser, Page

from alerts.rules import read_rules
from tests.browser import Sheet, running_browser, sheet
from tests.explorer_sample import SHOP, TAG, Sample, build
from tests.exporter_process import Exporter
from tests.in_process import run_command
from tests.plan_texts import without_moment
from tests.test_explorer_links import pages_of

KEPT = 5


@pytest.fixture(scope="module")
def sample(tmp_path_factory: pytest.TempPathFactory) -> Sample:
    return build(tmp_path_factory.mktemp("ways"))


@pytest.fixture(scope="module")
def exporter(sample: Sample) -> Iterator[Exporter]:
    with Exporter(*sample.flags, "--retention.keep-last", str(KEPT)) as exporter:
        yield exporter


@pytest.fixture(scope="module")
def browser() -> Iterator[Browser]:
    with running_browser() as browser:
        yield browser


@pytest.fixture
def opened(browser: Browser, exporter: Exporter) -> Iterator[Sheet]:
    with sheet(browser, exporter.url) as opened:
        yield opened
        assert opened.complaints == []


@pytest.fixture
def plain(browser: Browser, exporter: Exporter) -> Iterator[Sheet]:
    with sheet(browser, exporter.url, java_script_enabled=False) as opened:
        yield opened
        assert opened.complaints == []


def plan_of(sample: Sample, *options: str) -> str:
    outcome = run_command("plan", *sample.flags, *options)
    assert (outcome.exit_code, outcome.complaints) == (0, "")
    return without_moment(outcome.output)


def downloaded(page: Page, name: str) -> str:
    """Click "Download the plan" below the what-if, and return what is saved."""
    with page.expect_download() as waiting:
        page.locator("#what-if ~ *").get_by_role("link", name="Download the plan").click()
    assert waiting.value.suggested_filename == name
    return without_moment(Path(waiting.value.path()).read_text("utf-8"))


def place_of(page: Page) -> str:
    parts = urlsplit(page.url)
    return parts.path + (f"#{parts.fragment}" if parts.fragment else "")


def follow_image_to_layer_and_back(page: Page, sample: Sample) -> None:
    """From a repository: to the image of its running tag, to its lowest layer, and back."""
    repository = page.url
    page.get_by_role("link", name=TAG, exact=True).click()
    page.wait_for_url(f"**/images/{sample.image}")
    assert "It can be pulled whole" in page.inner_text("main")
    page.locator("section[aria-labelledby=layers] td.digest a").first.click()
    page.wait_for_url(f"**/blobs/{sample.layer}")
    assert "Several repositories share it" in page.inner_text("main")
    page.go_back()
    page.wait_for_url(f"**/images/{sample.image}")
    page.go_back()
    page.wait_for_url(repository)


def test_from_an_alert_to_the_issue_the_repository_the_image_a_layer_and_back(
    opened: Sheet, sample: Sample
) -> None:
    alert = next(each for each in read_rules().alerts() if each.short_name == "UploadsAbandoned")
    (link,) = pages_of(alert)
    page = opened.open(link).page
    assert page.locator("h2#uploads").is_visible()
    assert page.evaluate("document.querySelector(location.hash).getBoundingClientRect().top >= 0")
    page.locator("section[aria-labelledby=uploads]").get_by_role("link", name=SHOP).click()
    page.wait_for_url(f"**/repositories/{SHOP}")
    follow_image_to_layer_and_back(page, sample)


def test_from_a_problem_on_the_overview_to_its_issues_the_repository_the_image_and_back(
    opened: Sheet, sample: Sample
) -> None:
    page = opened.open("/").page
    page.locator(".problems").get_by_role("link", name="The registry never purges").click()
    page.wait_for_url("**/issues#uploads")
    page.locator("section[aria-labelledby=uploads]").get_by_role("link", name=SHOP).click()
    page.wait_for_url(f"**/repositories/{SHOP}")
    follow_image_to_layer_and_back(page, sample)
    page.go_back()
    page.wait_for_url("**/issues#uploads")
    page.go_back()
    assert place_of(page) == "/"


@pytest.mark.parametrize("kind", ["opened", "plain"])
def test_from_the_overview_to_what_can_go_and_a_what_if_whose_plan_is_that_of_the_command(
    request: pytest.FixtureRequest, sample: Sample, kind: str
) -> None:
    page = request.getfixturevalue(kind).open("/").page
    page.get_by_role("link", name="What can go").first.click()
    page.wait_for_url("**/clean-up")
    page.get_by_label("Keep the last").fill(str(KEPT))
    page.get_by_role("button", name="Price it").click()
    page.wait_for_url(f"**keep-last={KEPT}&**#what-if")
    size = page.locator(".result .figure data").get_attribute("value")
    plan = plan_of(sample, "--keep-last", str(KEPT))
    options = ("--retention.keep-last", str(KEPT), "--format", "json")
    report = json.loads(run_command("report", *sample.flags, *options).output)
    actions = {each["action"]: each["frees_bytes"] for each in report["actions"]}
    assert size == str(actions[f"keep-last-{KEPT}"])
    assert plan.splitlines()[-1].startswith(f"# total: {size} bytes in ")
    assert downloaded(page, "plan.txt") == plan


def test_from_a_repository_to_what_keeping_fewer_tags_frees_and_the_plan(
    opened: Sheet, sample: Sample
) -> None:
    page = opened.open(f"/repositories/{SHOP}").page
    page.get_by_label("Keep the newest").fill("2")
    page.get_by_role("button", name="Calculate").click()
    page.wait_for_url("**?keep=2#what-if")
    size = page.locator("section[aria-labelledby=what-if] data").get_attribute("value")
    plan = plan_of(sample, "--keep-last", "2", "--match", f"^{SHOP}:.*")
    assert plan.splitlines()[-1].startswith(f"# total: {size} bytes in ")
    assert downloaded(page, "plan-captain-img-captain-shop.txt") == plan


def test_six_digits_of_a_digest_lead_to_the_image(opened: Sheet, sample: Sample) -> None:
    page = opened.open("/issues").page
    digits = sample.image.removeprefix("sha256:")[:6]
    page.get_by_role("searchbox").fill(digits)
    page.get_by_role("button", name="Search").click()
    page.wait_for_url(f"**/search?q={digits}")
    page.get_by_role("link", name=sample.image).click()
    page.wait_for_url(f"**/images/{sample.image}")
    assert f"{SHOP}:{TAG}" in page.inner_text("section[aria-labelledby=apps]")


def test_from_the_map_through_a_namespace_and_a_repository_to_the_image_of_a_tag(
    opened: Sheet, sample: Sample
) -> None:
    page = opened.open("/map").page
    tiles = page.locator("svg.map:visible")
    tiles.get_by_role("link", name="captain/: 5 repositories").click(position={"x": 20, "y": 5})
    page.wait_for_url("**/map?in=captain%2F")
    tiles.get_by_role("link", name=f"{SHOP}: repository").click()
    page.wait_for_url("**/map?in=captain%2Fimg-captain-shop")
    tiles.get_by_role("link", name=re.compile(rf"^{TAG}: image")).click()
    page.wait_for_url(f"**/images/{sample.image}")


def press_until(page: Page, key: str, name: str) -> None:
    """Press a key until what has the focus has a name."""
    for _ in range(100):
        page.keyboard.press(key)
        if page.evaluate("document.activeElement.textContent.trim()") == name:
            return
    raise AssertionError(f"{name!r} never has the focus")


def test_from_a_problem_to_the_plan_of_a_repository_with_the_keyboard_alone(
    opened: Sheet, sample: Sample
) -> None:
    page = opened.open("/").page
    press_until(page, "Tab", "The registry never purges 1 unfinished upload")
    page.keyboard.press("Enter")
    page.wait_for_url("**/issues#uploads")
    # the focus starts where the fragment leads
    press_until(page, "Tab", SHOP)
    page.keyboard.press("Enter")
    page.wait_for_url(f"**/repositories/{SHOP}")
    press_until(page, "Tab", "Issues")
    for _ in range(3):
        page.keyboard.press("Tab")
    page.keyboard.type(str(KEPT))
    page.keyboard.press("Enter")
    page.wait_for_url(f"**?keep={KEPT}#what-if")
    press_until(page, "Tab", "Download the plan")
    with page.expect_download() as waiting:
        page.keyboard.press("Enter")
    plan = without_moment(Path(waiting.value.path()).read_text("utf-8"))
    assert plan == plan_of(sample, "--keep-last", str(KEPT), "--match", f"^{SHOP}:.*")
