"""How an operator runs commands with these settings."""

import shlex
from collections.abc import Iterable
from pathlib import Path

from exporter.domain.text import printable
from exporter.settings.model import Settings

_REGISTRY = "https://REGISTRY"
_BACKUP = "BACKUP-DIRECTORY"


def plan_command(settings: Settings, program: str) -> str:
    """Return how to run ``plan`` with these settings: without CapRover's it names what runs."""
    protect = (("--retention.protect", each.pattern, None) for each in settings.retention.protect)
    return _command([program, "plan"], (*_of_store(settings), *protect))


def apply_command(settings: Settings, program: str) -> str:
    """Return how to carry out the plan in ``plan.txt``; what is not configured is in capitals."""
    backup = settings.backup.dir
    place = backup if backup is not None and backup.suffix == "" else _BACKUP
    url = ("--registry.url", settings.registry.url or _REGISTRY, None)
    flags = (*_of_store(settings), url, *_of_registry(settings), ("--backup", place, None))
    words = [program, "apply", "plan.txt", *_switches(settings)]
    return f"{_command(words, flags)} --yes"


def restore_command(settings: Settings, program: str, journal: Path, file: str | None) -> str:
    """Return how to undo what ``apply`` has recorded in its journal.

    ``file`` is the configuration file in use, if there is one. The old times of tags then go where
    ``plan`` looks for them with the same settings.
    """
    flags = (
        ("--config.file", file, None),
        ("--storage.root", settings.storage.root, Settings().storage.root),
        ("--registry.url", settings.registry.url, None),
        *_of_registry(settings),
        ("--cache.path", settings.cache.path, None),
    )
    return _command([program, "restore", str(journal), *_switches(settings)], flags)


def _of_registry(settings: Settings) -> Iterable[tuple[str, object, object]]:
    registry, usual = settings.registry, Settings().registry
    return (
        ("--registry.username", registry.username, None),
        ("--registry.password-file", registry.password_file, None),
        ("--registry.ca-file", registry.ca_file, None),
        ("--registry.timeout", f"{registry.timeout:g}s", f"{usual.timeout:g}s"),
    )


def _switches(settings: Settings) -> list[str]:
    skip = settings.registry.insecure_skip_verify
    return ["--registry.insecure-skip-verify"] if skip else []


def _of_store(settings: Settings) -> Iterable[tuple[str, object, object]]:
    usual = Settings()
    return (
        ("--storage.root", settings.storage.root, usual.storage.root),
        ("--registry.gc-dialect", settings.registry.gc_dialect, usual.registry.gc_dialect),
        *(("--caprover.config-dir", each, None) for each in settings.caprover.config_dir),
        ("--caprover.image-prefix", settings.caprover.image_prefix, usual.caprover.image_prefix),
    )


def _command(words: list[str], flags: Iterable[tuple[str, object, object]]) -> str:
    """Return a command with the flags whose value differs from the default, the third item."""
    for flag, value, default in flags:
        if value != default:
            words = [*words, flag, str(value)]
    return shlex.join(map(printable, words))
