"""Imports point one way, pure modules do no I/O, and modules stay small."""

import ast
from collections import Counter
from collections.abc import Iterator
from functools import cache
from pathlib import Path

import pytest

PACKAGE = Path(__file__).parent.parent / "exporter"
MODULES = {
    ".".join(("exporter", *path.relative_to(PACKAGE).with_suffix("").parts)).removesuffix(
        ".__init__"
    ): path
    for path in sorted(PACKAGE.rglob("*.py"))
}
PURE = (
    "exporter.domain",
    "exporter.support.quantities",
    "exporter.support.strict_yaml",
    "exporter.settings.model",
    "exporter.settings.value_types",
    "exporter.settings.name_patterns",
    "exporter.settings.alert_thresholds",
    "exporter.store.format",
    "exporter.analysis",
    "exporter.history.growth",
    "exporter.history.points",
    "exporter.history.port",
    "exporter.history.rows",
    "exporter.history.thinning",
    "exporter.history.time_to_full",
    "exporter.metrics.catalogue",
    "exporter.metrics.collector",
    "exporter.metrics.documentation",
    "exporter.metrics.groups",
    "exporter.metrics.metric",
    "exporter.metrics.repository_selection",
    "exporter.backup.index",
    "exporter.backup.selection",
    "exporter.registry.port",
    "exporter.registry.retries",
    "exporter.commands.verify.selection",
    "exporter.commands.verify.tally",
    "exporter.views.actions",
    "exporter.views.app_uses",
    "exporter.views.blob_answer",
    "exporter.views.clean_up.planned_actions",
    "exporter.views.chart",
    "exporter.views.clean_up.retention_chart",
    "exporter.views.deletion_plan",
    "exporter.views.digest_search",
    "exporter.views.over_time.series",
    "exporter.views.tag_rows",
    "exporter.views.treemap",
)
# Settings hold paths but never open them.
NAMES_PATHS = ("exporter.settings.model", "exporter.settings.value_types")
IO_MODULES = {"asyncio", "fcntl", "httpx", "io", "logging", "mmap", "os", "pathlib", "psutil",
              "requests", "shutil", "socket", "sqlite3", "ssl", "starlette", "subprocess",
              "tempfile", "threading", "time", "urllib.request", "uvicorn", "watchdog"}  # fmt: skip
# Each part, and the other parts that it may import. The longest matching name applies.
MAY_IMPORT = {
    "exporter.domain": (),
    "exporter.support": ("exporter.domain",),
    "exporter.settings": ("exporter.domain", "exporter.support"),
    "exporter.store.format": ("exporter.domain",),
    "exporter.store.port": ("exporter.domain",),
    "exporter.store.json_blobs": ("exporter.domain", "exporter.store.format",
                                  "exporter.store.port"),
    "exporter.store.image_dates": ("exporter.domain", "exporter.store.json_blobs",
                                   "exporter.store.port"),
    "exporter.store.filesystem": ("exporter.domain", "exporter.support", "exporter.store.format",
                                  "exporter.store.port"),
    "exporter.backup": ("exporter.domain", "exporter.support", "exporter.store.port",
                        "exporter.store.format", "exporter.store.json_blobs"),
    "exporter.maintenance": ("exporter.domain",),
    "exporter.platforms.port": ("exporter.domain",),
    "exporter.platforms.caprover": ("exporter.domain", "exporter.store.format",
                                    "exporter.platforms.port"),
    "exporter.registry": ("exporter.domain", "exporter.store.format",
                          "exporter.support.rate_limit"),
    "exporter.registry.port": (),
    "exporter.analysis": ("exporter.domain", "exporter.store.format"),
    "exporter.history": ("exporter.domain", "exporter.support"),
    "exporter.views": ("exporter.domain", "exporter.support.quantities", "exporter.store.port",
                       "exporter.store.format", "exporter.store.json_blobs",
                       "exporter.platforms.port", "exporter.analysis", "exporter.history.port",
                       "exporter.history.growth", "exporter.history.points"),
    "exporter.metrics": ("exporter.domain",),
    "exporter.web": ("exporter.domain", "exporter.support", "exporter.metrics",
                     "exporter.history.port", "exporter.history.growth",
                     "exporter.history.points", "exporter.views",
                     "exporter.settings.name_patterns"),
    "exporter.serve": ("exporter.domain", "exporter.support", "exporter.store.port",
                       "exporter.platforms.port", "exporter.analysis", "exporter.history",
                       "exporter.web"),
    "exporter.commands": ("exporter.domain", "exporter.support", "exporter.store.format",
                          "exporter.store.port", "exporter.store.json_blobs", "exporter.backup",
                          "exporter.platforms.port", "exporter.registry.port",
                          "exporter.analysis", "exporter.history.port",
                          "exporter.history.growth", "exporter.history.points",
                          "exporter.views", "exporter.metrics", "exporter.web"),
    "exporter.cli": ("exporter.domain", "exporter.support", "exporter.settings",
                     "exporter.commands", "exporter.views", "exporter.web.access",
                     "exporter.compose", "exporter.compose_serve"),
    "exporter.__main__": ("exporter.cli",),
}  # fmt: skip
COMPOSITION_ROOTS = ("exporter.compose", "exporter.compose_serve")
"""The only modules that may import everything: they build the objects from the settings."""

MAX_LINES = 350
MAX_MODULES = 16
"""Maximum per folder."""

NAMES_CAPROVER = (
    "exporter.commands.plan.options",
    "exporter.commands.report.document",
    "exporter.metrics.catalogue",
    "exporter.metrics.groups.caprover",
    "exporter.store.filesystem.privilege",
    "exporter.views.deletion_plan.request",
)
"""Modules with CapRover in a text for people or in the name of a metric."""


@cache
def imports(module: str) -> frozenset[str]:
    found: set[str] = set()
    for node in ast.walk(ast.parse(MODULES[module].read_text())):
        if isinstance(node, ast.Import):
            found.update(alias.name for alias in node.names)
        elif isinstance(node, ast.ImportFrom):
            assert node.level == 0, f"{module}: imports are absolute"
            source = node.module or ""
            found.add(source)
            found.update(
                f"{source}.{alias.name}"
                for alias in node.names
                if f"{source}.{alias.name}" in MODULES
            )
    return frozenset(found)


def within(module: str, places: "tuple[str, ...] | list[str]") -> bool:
    return any(module == place or module.startswith(f"{place}.") for place in places)


def own_imports(module: str) -> Iterator[str]:
    return (each for each in imports(module) if each in MODULES and each != "exporter")


@pytest.mark.parametrize("module", [each for each in MODULES if within(each, PURE)])
def test_pure_modules_import_no_io(module: str) -> None:
    forbidden = IO_MODULES - {"pathlib"} if module in NAMES_PATHS else IO_MODULES
    assert not {each for each in imports(module) if within(each, list(forbidden))}


@pytest.mark.parametrize("module", MODULES)
def test_modules_import_only_allowed_parts(module: str) -> None:
    if module in COMPOSITION_ROOTS:
        return
    parts = [each for each in MAY_IMPORT if within(module, (each,))]
    if not parts:
        assert MODULES[module].name == "__init__.py"
        assert not list(own_imports(module))
        return
    part = max(parts, key=len)
    allowed = (part, *MAY_IMPORT[part])
    assert not {each for each in own_imports(module) if not within(each, allowed)}


def test_only_the_command_line_uses_the_composition_root() -> None:
    importers = {each for each in MODULES if imports(each) & set(COMPOSITION_ROOTS)}
    assert importers - set(COMPOSITION_ROOTS) == {"exporter.cli"}


def test_only_composition_and_configuration_name_a_platform() -> None:
    """All other modules use the port, and would work with another platform."""
    named = {each for each, path in MODULES.items() if "caprover" in path.read_text().lower()}
    allowed = (
        "exporter.platforms.caprover",
        "exporter.settings.model",
        "exporter.settings.command_lines",
        *COMPOSITION_ROOTS,
    )
    assert {each for each in named if not within(each, allowed)} == set(NAMES_CAPROVER)


def test_no_folder_holds_too_many_modules() -> None:
    folders = Counter(path.parent for path in MODULES.values() if path.name != "__init__.py")
    assert max(folders.values()) <= MAX_MODULES
    assert {path.name for path in PACKAGE.glob("*.py")} == {
        "__init__.py", "__main__.py", "cli.py", "compose.py", "compose_serve.py",
    }  # fmt: skip


def test_there_are_no_import_cycles() -> None:
    done: set[str] = set()

    def visit(module: str, above: tuple[str, ...]) -> None:
        assert module not in above, f"cycle: {' -> '.join((*above, module))}"
        if module not in done:
            for each in own_imports(module):
                if not MODULES[each].name.startswith("__init__"):
                    visit(each, (*above, module))
            done.add(module)

    for module in MODULES:
        visit(module, ())


@pytest.mark.parametrize("module", MODULES)
def test_modules_are_small_and_have_specific_names(module: str) -> None:
    assert len(MODULES[module].read_text().splitlines()) <= MAX_LINES
    vague = {"utils", "util", "helpers", "helper", "manager", "common", "misc"}
    assert vague.isdisjoint(module.split("."))


def test_only_the_refresh_loop_catches_every_exception() -> None:
    broad = [
        module
        for module, path in MODULES.items()
        for node in ast.walk(ast.parse(path.read_text()))
        if isinstance(node, ast.ExceptHandler)
        and (node.type is None or ast.unparse(node.type) in ("Exception", "BaseException"))
    ]
    assert broad == ["exporter.serve.loop"]
