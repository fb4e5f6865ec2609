"""How an operator runs commands with these settings."""

import shlex
from collections.abc import Iterable

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
    registry, usual = settings.registry, Settings().registry
    backup = settings.backup.dir
    place = backup if backup is not None and backup.suffix == "" else _BACKUP
    flags = (
        *_of_store(settings),
        ("--registry.url", registry.url or _REGISTRY, None),
        ("--registry.username", registry.username, None),
        ("--registry.password-file", registry.password_file, None),
        ("--registry.ca-file", registry.ca_file, None),
        ("--registry.timeout", f"{registry.timeout:g}s", f"{usual.timeout:g}s"),
        ("--backup", place, None),
    )
    skip = ["--registry.insecure-skip-verify"] if registry.insecure_skip_verify else []
    return f"{_command([program, 'apply', 'plan.txt', *skip], flags)} --yes"


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
            words = [*words, flag, printable(str(value))]
    return shlex.join(words)
