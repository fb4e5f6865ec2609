"""The imports point one way, the pure modules are pure, and modules stay small."""

import ast
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
PURE = ("exporter.model", "exporter.digests", "exporter.app_images", "exporter.snapshot",
        "exporter.quantities", "exporter.scan_progress", "exporter.uses", "exporter.analysis",
        "exporter.storage.layout", "exporter.storage.manifests", "exporter.metrics.catalogue",
        "exporter.metrics.subject", "exporter.metrics.store_metrics", "exporter.metrics.collector",
        "exporter.metrics.api_metrics", "exporter.metrics.exporter_metrics",
        "exporter.metrics.documentation", "exporter.alert_thresholds", "exporter.setting_types",
        "exporter.name_patterns", "exporter.metrics.selection",
        "exporter.config", "exporter.strict_yaml", "exporter.verify.selection",
        "exporter.verify.tally", "exporter.plan.deletions", "exporter.plan.page",
        "exporter.report.actions",
        "exporter.report.repository")  # fmt: skip
# Settings hold paths, but never open them.
NAMES_PATHS = ("exporter.setting_types", "exporter.config")
IO_MODULES = {"asyncio", "fcntl", "httpx", "io", "logging", "mmap", "os", "pathlib", "psutil",
              "requests", "shutil", "socket", "sqlite3", "ssl", "starlette", "subprocess",
              "tempfile", "threading", "time", "urllib.request", "uvicorn", "watchdog"}  # fmt: skip
LEAVES = ("exporter", "exporter.model", "exporter.digests", "exporter.app_images",
          "exporter.errors", "exporter.quantities", "exporter.alert_thresholds",
          "exporter.setting_types", "exporter.name_patterns", "exporter.scan_progress",
          "exporter.snapshot", "exporter.uses", "exporter.logs")  # fmt: skip
# Each layer, and the layers below it that it may import beside the leaves and itself.
LAYERS = {
    "exporter.storage": (),
    "exporter.analysis": ("exporter.storage.layout",),
    "exporter.metrics": (),
    "exporter.registry_failures": ("exporter.storage.layout",),
    "exporter.registry_http": ("exporter.registry_failures", "exporter.storage.layout"),
    "exporter.registry_auth": ("exporter.registry_http", "exporter.storage.layout"),
    "exporter.registry_api": ("exporter.registry_auth", "exporter.registry_http",
                              "exporter.storage.layout"),
    "exporter.caprover": ("exporter.storage.layout",),
    "exporter.config": (),
    "exporter.config_sources": ("exporter.config", "exporter.strict_yaml"),
    "exporter.strict_yaml": (),
    "exporter.standstill": (),
    "exporter.board": ("exporter.analysis",),
    "exporter.refresh": ("exporter.board", "exporter.storage", "exporter.analysis"),
    "exporter.web": ("exporter.metrics", "exporter.strict_yaml"),
    "exporter.report": ("exporter.metrics", "exporter.analysis", "exporter.storage",
                        "exporter.plan.deletions"),
    "exporter.progress": ("exporter.storage",),
    "exporter.output": (),
    "exporter.allocation": (),
    "exporter.plan": ("exporter.analysis", "exporter.output", "exporter.storage.layout"),
    "exporter.stop_signals": (),
    "exporter.verify": ("exporter.storage", "exporter.analysis", "exporter.progress",
                        "exporter.output"),
}  # fmt: skip
COMPOSITION = ("exporter.cli", "exporter.serving", "exporter.gather", "exporter.registry_status",
               "exporter.__main__")  # fmt: skip
MAX_LINES = 350


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
def test_pure_modules_import_nothing_that_reads_or_waits(module: str) -> None:
    forbidden = IO_MODULES - {"pathlib"} if module in NAMES_PATHS else IO_MODULES
    assert not {each for each in imports(module) if within(each, list(forbidden))}


@pytest.mark.parametrize("module", MODULES)
def test_imports_point_down_only(module: str) -> None:
    if module in COMPOSITION:
        return
    if module in LEAVES:
        assert all(each in LEAVES for each in own_imports(module))
        return
    (layer,) = [each for each in LAYERS if within(module, (each,))]
    allowed = (layer, *LAYERS[layer])
    assert not {
        each for each in own_imports(module) if each not in LEAVES and not within(each, allowed)
    }


def test_nothing_imports_the_commands() -> None:
    importers = {each for each in MODULES if "exporter.cli" in imports(each)}
    assert importers == {"exporter.__main__"}


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
def test_modules_are_small_and_named_for_what_they_hold(module: str) -> None:
    assert len(MODULES[module].read_text().splitlines()) <= MAX_LINES
    vague = {"utils", "util", "helpers", "helper", "manager", "common", "misc"}
    assert vague.isdisjoint(module.split("."))


def test_only_the_refresh_loop_catches_everything() -> None:
    broad = [
        module
        for module, path in MODULES.items()
        for node in ast.walk(ast.parse(path.read_text()))
        if isinstance(node, ast.ExceptHandler)
        and (node.type is None or ast.unparse(node.type) in ("Exception", "BaseException"))
    ]
    assert broad == ["exporter.refresh"]
