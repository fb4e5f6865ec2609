"""The pages link to what exists, the index is complete, and settings are documented as they are."""

import re
from collections import Counter
from pathlib import Path

import pytest

from exporter.settings.model import Settings
from exporter.settings.sources import (
    argument_parser,
    flag_name,
    load_settings,
    setting_paths,
    variable_name,
)
from exporter.web.explorer.routes import PAGES as EXPLORER_PAGES
from tests.explorer_pictures import MAX_BYTES, PICTURES, SCHEMES
from tests.explorer_pictures import PAGES as PICTURED
from tests.exporter_process import REPOSITORY
from tests.in_process import run_command
from tests.runbook_pages import blocks_of

DOCS = REPOSITORY / "docs"
README = REPOSITORY / "README.md"
INDEX = DOCS / "README.md"
CONFIGURATION = DOCS / "configuration.md"
DEVELOPMENT = DOCS / "development.md"
MOST_README_LINES = 200

PAGES = sorted(
    page
    for page in REPOSITORY.rglob("*.md")
    if not any(part.startswith(".") for part in page.relative_to(REPOSITORY).parts)
)
WRITTEN_BY_PROGRAMS = {DOCS / f"{name}.md" for name in ("performance", "reliability", "metrics")}
PROSE = [
    page
    for page in PAGES
    if page.parent in {REPOSITORY, DOCS, DOCS / "runbooks"}
    or page.is_relative_to(REPOSITORY / "deploy")
    if page not in WRITTEN_BY_PROGRAMS
]
SETTINGS = [path for path in setting_paths() if path != ("registry", "password")]

ODD_WORDS = re.compile(
    r"\b(?:foretell|foretold|anew|mend|mends|mended|is told of|get on|gets on)\b", re.IGNORECASE
)

_FENCE = re.compile(r"^ *(```|~~~).*?^ *\1 *$", re.MULTILINE | re.DOTALL)
_CODE_SPAN = re.compile(r"(`+)(?!`).+?(?<!`)\1(?!`)", re.DOTALL)
_HEADING = re.compile(r"^#{1,6} +(.+?)(?: +#+)? *$", re.MULTILINE)
_LINK = re.compile(r"\]\(\s*<?([^)\s>]+)>?[^)]*\)|^ *\[[^\]]+\]: +(\S+)", re.MULTILINE)
_OTHER_SITE = re.compile(r"[a-z][a-z+.-]*:", re.IGNORECASE)


def short_name(page: Path) -> str:
    return str(page.relative_to(REPOSITORY))


def links_of(text: str) -> list[str]:
    """Return the targets of all links on this site, in text outside of code."""
    prose = _CODE_SPAN.sub("", _FENCE.sub("", text))
    targets = [inline or reference for inline, reference in _LINK.findall(prose)]
    return [each for each in targets if not _OTHER_SITE.match(each)]


def anchors_of(text: str) -> set[str]:
    """Return the anchors of a page's headings, by GitHub's rules.

    Letters become lower case, spaces hyphens; other punctuation is dropped. A heading that comes
    again gets a number. https://docs.github.com/en/get-started/writing-on-github (section links)
    """
    anchors: set[str] = set()
    times = Counter[str]()
    for heading in _HEADING.findall(_FENCE.sub("", text)):
        shown = re.sub(r"!?\[([^\]]*)\]\([^)]*\)", r"\1", heading)
        slug = re.sub(r"[^\w\- ]", "", shown.strip().lower()).replace(" ", "-")
        anchors.add(f"{slug}-{times[slug]}" if times[slug] else slug)
        times[slug] += 1
    return anchors


def documented_defaults() -> dict[str, str]:
    """Return the text of the default column of the configuration page, by flag."""
    row = re.compile(r"^\| `(--[a-z.-]+)`[^|]*\| ([^|]+) \|", re.MULTILINE)
    rows = row.findall(CONFIGURATION.read_text("utf-8"))
    assert len(rows) == len(dict(rows)), "a flag has two rows"
    return dict(rows)


@pytest.mark.parametrize("page", PAGES, ids=short_name)
def test_every_relative_link_leads_to_a_file_and_a_heading_that_exist(page: Path) -> None:
    for link in links_of(page.read_text("utf-8")):
        path, _, anchor = link.partition("#")
        target = (page.parent / path).resolve() if path else page
        assert target.is_relative_to(REPOSITORY.resolve()), link
        assert target.exists(), link
        if anchor:
            assert target.suffix == ".md", link
            assert anchor in anchors_of(target.read_text("utf-8")), link


@pytest.mark.parametrize(
    ("heading", "anchor"),
    [
        ("## The registry's API (optional)", "the-registrys-api-optional"),
        ("### `--format json`", "--format-json"),
        ("# Access, TLS & limits ##", "access-tls--limits"),
        ("## [Metrics](metrics.md) of `serve`", "metrics-of-serve"),
        ("## max_repositories", "max_repositories"),
        ("## Größe", "größe"),
        ("## Twice\n\n## Twice", "twice-1"),
    ],
)
def test_anchors_are_those_of_github(heading: str, anchor: str) -> None:
    assert anchor in anchors_of(f"Text.\n\n{heading}\n")


def test_code_has_neither_links_nor_headings() -> None:
    text = "```sh\n# [no](none.md)\n```\n`[no](none.md)` [yes](a.md#b)\n\n[ref]: c.md\n"
    assert links_of(text) == ["a.md#b", "c.md"]
    assert anchors_of(text) == set()


def test_the_readme_is_short_and_leads_to_the_index() -> None:
    text = README.read_text("utf-8")
    assert len(text.splitlines()) <= MOST_README_LINES
    assert "docs/README.md" in links_of(text)


def test_the_index_links_to_every_page_once_and_to_the_runbooks() -> None:
    targets = [(DOCS / link).resolve() for link in links_of(INDEX.read_text("utf-8"))]
    within = [short_name(each) for each in targets if each.is_relative_to(DOCS.resolve())]
    pages = [short_name(page) for page in DOCS.glob("*.md") if page != INDEX]
    assert sorted(within) == sorted([*pages, "docs/runbooks/README.md"])


def test_the_configuration_page_has_every_setting_with_its_default() -> None:
    defaults = documented_defaults()
    assert defaults.keys() == {flag_name(path) for path in SETTINGS}
    assert f"`{variable_name(('registry', 'password'))}`" in CONFIGURATION.read_text("utf-8")
    for path in SETTINGS:
        flag = flag_name(path)
        written = re.fullmatch(r"`(.+)`", defaults[flag])
        expected: object = Settings()
        for name in path:
            expected = getattr(expected, name)
        if written is None:
            meant = {"none": (None, ()), "all": ((),), "on": (True,), "off": (False,)}
            assert expected in meant[defaults[flag]], flag
        else:
            settings, _ = load_settings(argument_parser("test", ""), [flag, written[1]], {})
            assert settings == Settings(), flag
            assert expected not in (None, ()), flag


def test_the_examples_of_the_configuration_page_are_accepted(tmp_path: Path) -> None:
    blocks = blocks_of(CONFIGURATION.read_text("utf-8"), "yaml")
    assert blocks
    for block in blocks:
        file = tmp_path / "config.yml"
        file.write_text(block.content, "utf-8")
        outcome = run_command("check-config", "--config.file", file)
        assert outcome.exit_code == 0, outcome.complaints


@pytest.mark.parametrize(
    "page", [page for page in PROSE if page.parent in {REPOSITORY, DOCS}], ids=short_name
)
def test_every_setting_that_a_page_names_exists(page: Path) -> None:
    flags = {flag_name(path) for path in SETTINGS} | {"--config.file"}
    flags |= {flag.replace("--", "--no-", 1) for flag in flags}
    named = re.findall(r"(?<![\w-])--[a-z-]+\.[a-z.-]*[a-z]", page.read_text("utf-8"))
    assert set(named) <= flags


@pytest.mark.parametrize("page", PROSE, ids=short_name)
def test_no_page_has_the_odd_words_of_old(page: Path) -> None:
    assert ODD_WORDS.findall(" ".join(page.read_text("utf-8").split())) == []


def section(page: Path, heading: str) -> str:
    """Return the text below a heading, up to the next heading of its level or a higher one."""
    level = len(heading) - len(heading.lstrip("#"))
    text = page.read_text("utf-8").partition(f"\n{heading}\n")[2]
    assert text, f"{short_name(page)} has no {heading}"
    return re.split(rf"^#{{1,{level}}} ", text, maxsplit=1, flags=re.MULTILINE)[0]


def mapped_files() -> list[str]:
    """Return the modules on the map of the house, as paths, in its order."""
    (block,) = re.findall(
        r"^```\n(.*?)^```$", section(DEVELOPMENT, "### Every module"), re.MULTILINE | re.DOTALL
    )
    folders: list[str] = []
    files = []
    for line in block.splitlines():
        name = line.split()[0]
        depth = (len(line) - len(line.lstrip())) // 2
        folders[depth:] = [name]
        if not name.endswith("/"):
            files.append("".join(folders))
    return files


def test_the_map_has_every_module_once_with_a_description() -> None:
    modules = [
        short_name(path)
        for path in (REPOSITORY / "exporter").rglob("*.py")
        if path.name != "__init__.py"
    ]
    assert sorted(mapped_files()) == sorted(modules)
    lines = section(DEVELOPMENT, "### Every module").splitlines()
    assert [line for line in lines if line.endswith(".py")] == []


def test_every_question_leads_to_a_file() -> None:
    rows = re.findall(
        r"^\| (.+\?) \| (.+) \|$", section(DEVELOPMENT, "### Where is it?"), re.MULTILINE
    )
    assert len(rows) >= 14
    for question, answer in rows:
        (first, *others) = re.findall(r"`([\w/]+\.py)`", answer)
        for path in (first, *others):
            assert (REPOSITORY / path).is_file(), question


def test_the_page_about_the_explorer_lists_every_page_of_it() -> None:
    listed = re.findall(
        r"^\| `(/[^`]*)` \|", (DOCS / "explorer.md").read_text("utf-8"), re.MULTILINE
    )
    places = [re.sub(r"\{(\w+)(?::path)?\}", r"<\1>", path) for path in EXPLORER_PAGES]
    assert sorted(each.partition("?")[0] for each in listed) == sorted(places)


def test_every_picture_of_the_explorer_is_on_the_first_page_and_small() -> None:
    page = (REPOSITORY / "README.md").read_text("utf-8")
    expected = {f"{name}-{scheme}.png" for name in PICTURED for scheme in SCHEMES}
    pictures = {each.name: each.stat().st_size for each in PICTURES.iterdir()}
    assert pictures.keys() == expected
    assert max(pictures.values()) <= MAX_BYTES
    assert all(f"docs/pictures/{name}" in page for name in pictures)
