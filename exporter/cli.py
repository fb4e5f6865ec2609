"""The commands, and how everything is put together: the only composition root.

Modules that only some commands need are imported by those, so that ``collect`` starts fast.
"""

import argparse
import difflib
import os
import shlex
import sys
import time
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TextIO

from prometheus_client import CollectorRegistry, generate_latest

from exporter import __version__
from exporter.commands.gather import analysis_options, gather
from exporter.domain.errors import ConfigurationError, ExporterError
from exporter.domain.snapshot import ApiStatus
from exporter.domain.text import printable
from exporter.metrics.catalogue import CATALOGUE
from exporter.metrics.collector import SubjectCollector
from exporter.metrics.exposition import warn_of_patterns
from exporter.metrics.metric import Subject
from exporter.settings.model import Settings
from exporter.settings.sources import argument_parser, effective_configuration, load_settings
from exporter.support.logs import set_up_logging
from exporter.support.output_files import replace_file
from exporter.support.terminal_progress import terminal_progress

PROGRAM = "registry-storage-exporter"

_DONE, _FAILED, _MISUSED = 0, 1, 2
_INTERRUPTED = 130


@dataclass(frozen=True, slots=True)
class Command:
    """One command.

    Attributes:
        summary: what it does, for the help.
        run: does it; gives the exit code.
        add_options: adds options of its own.

    """

    summary: str
    run: Callable[[Settings, argparse.Namespace, TextIO], int]
    add_options: Callable[[argparse.ArgumentParser], None] = lambda _: None


def main(
    arguments: Sequence[str] | None = None,
    environment: Mapping[str, str] | None = None,
    output: TextIO | None = None,
) -> int:
    """Run one command and give its exit code: 0 done, 1 failed, 2 wrong usage or configuration."""
    arguments = sys.argv[1:] if arguments is None else arguments
    environment = os.environ if environment is None else environment
    try:
        return _run(list(arguments), environment, output or sys.stdout)
    except ConfigurationError as error:
        _complain(*error.problems)
        return _MISUSED
    except ExporterError as error:
        _complain(str(error))
        return _FAILED
    except BrokenPipeError:
        _forget_output()  # whoever read it has seen enough
        return _DONE
    except KeyboardInterrupt:
        return _INTERRUPTED


def _run(arguments: list[str], environment: Mapping[str, str], output: TextIO) -> int:
    name = arguments.pop(0) if arguments and not arguments[0].startswith("-") else "serve"
    if name not in COMMANDS:
        close = difflib.get_close_matches(name, COMMANDS, n=1)
        hint = f"did you mean {close[0]}?" if close else f"one of: {', '.join(COMMANDS)}"
        raise ConfigurationError([f"{name}: unknown command; {hint}"])
    command = COMMANDS[name]
    parser = argument_parser(f"{PROGRAM} {name}", _describe(name, command))
    parser.add_argument("--version", action="version", version=f"{PROGRAM} {__version__}")
    command.add_options(parser)
    settings, parsed = load_settings(parser, arguments, environment)
    set_up_logging(settings.log.level, settings.log.format)
    return command.run(settings, parsed, output)


def _describe(name: str, command: Command) -> str:
    lines = [f"{name}: {command.summary}", "", "commands (serve is the default):"]
    lines += [f"  {each:<13} {other.summary}" for each, other in COMMANDS.items()]
    return "\n".join(lines)


def _complain(*problems: str) -> None:
    for problem in problems:
        print(f"{PROGRAM}: {problem}", file=sys.stderr)  # noqa: T201 - the place for it


def _forget_output() -> None:
    """Keep Python from complaining on exit that nobody reads its output."""
    os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())


def _serve(settings: Settings, _parsed: argparse.Namespace, _output: TextIO) -> int:
    from exporter.serve.run import serve  # noqa: PLC0415 - see above

    serve(settings)
    return _DONE


def _gather(settings: Settings) -> Subject:
    def ask() -> ApiStatus:
        from exporter.registry.status import ask_registry  # noqa: PLC0415 - see above

        return ask_registry(settings.registry, lambda *_: None)

    with terminal_progress() as on_progress:
        return gather(settings, ask, on_progress)


def _collect(settings: Settings, parsed: argparse.Namespace, output: TextIO) -> int:
    subject = _gather(settings)
    warn_of_patterns(subject)
    registry = CollectorRegistry()
    registry.register(SubjectCollector(CATALOGUE, subject))
    page = generate_latest(registry)
    if parsed.output is None:
        output.write(page.decode())
        output.flush()
    else:
        replace_file(Path(parsed.output), page)
    return _DONE


def _add_collect_options(parser: argparse.ArgumentParser) -> None:
    parser.add_argument(
        "--output", metavar="FILE", help="replace FILE instead of writing to standard output"
    )


def _report(settings: Settings, parsed: argparse.Namespace, output: TextIO) -> int:
    from exporter.commands.report.run import report  # noqa: PLC0415 - see above

    report(
        _gather(settings),
        analysis_options(settings),
        parsed,
        root=settings.storage.root,
        plan_command=_plan_command(settings),
        now=time.time(),
        output=output,
    )
    return _DONE


def _plan_command(settings: Settings) -> str:
    """Write how to run ``plan`` with these settings: without CapRover it would name what runs."""
    usual = Settings()
    flags = (
        ("--storage.root", settings.storage.root, usual.storage.root),
        ("--registry.gc-dialect", settings.registry.gc_dialect, usual.registry.gc_dialect),
        ("--caprover.config-dir", settings.caprover.config_dir, usual.caprover.config_dir),
        ("--caprover.image-prefix", settings.caprover.image_prefix, usual.caprover.image_prefix),
    )
    words = [PROGRAM, "plan"]
    for flag, value, default in flags:
        if value != default:
            words += [flag, printable(str(value))]
    return shlex.join(words)


def _add_report_options(parser: argparse.ArgumentParser) -> None:
    from exporter.commands.report.run import add_options  # noqa: PLC0415 - see above

    add_options(parser)


def _plan(settings: Settings, parsed: argparse.Namespace, output: TextIO) -> int:
    from exporter.commands.plan.options import selection_of  # noqa: PLC0415 - see above
    from exporter.commands.plan.run import plan  # noqa: PLC0415 - the same

    has_caprover = settings.caprover.config_dir is not None
    selection = selection_of(parsed, has_caprover=has_caprover)
    snapshot = _gather(settings).snapshot
    root = printable(str(settings.storage.root))
    plan(
        snapshot,
        analysis_options(settings),
        selection,
        parsed,
        root=root,
        now=time.time(),
        output=output,
    )
    return _DONE


def _add_plan_options(parser: argparse.ArgumentParser) -> None:
    from exporter.commands.plan.options import add_options  # noqa: PLC0415 - see above

    add_options(parser)


def _verify(settings: Settings, parsed: argparse.Namespace, output: TextIO) -> int:
    from exporter.commands.verify.options import task_of  # noqa: PLC0415 - the same
    from exporter.commands.verify.run import Surroundings, Verdict, verify  # noqa: PLC0415 - the same
    from exporter.support.stop_signals import stop_signals  # noqa: PLC0415 - see above

    task = task_of(parsed, settings.storage.root, os.environ)
    exit_codes = {
        Verdict.SOUND: _DONE,
        Verdict.DAMAGED: _FAILED,
        Verdict.INTERRUPTED: _INTERRUPTED,
    }
    try:
        with stop_signals() as should_stop:
            surroundings = Surroundings(output, _complain, time.monotonic, time.sleep, should_stop)
            return exit_codes[verify(task, surroundings)]
    except BrokenPipeError:
        _forget_output()
        return _FAILED  # nobody knows whether all is sound


def _add_verify_options(parser: argparse.ArgumentParser) -> None:
    from exporter.commands.verify.options import add_options  # noqa: PLC0415 - see above

    add_options(parser)


def _check_config(settings: Settings, _parsed: argparse.Namespace, output: TextIO) -> int:
    from exporter.store.filesystem.privilege import read_privilege, warnings_of  # noqa: PLC0415 - see above
    from exporter.web.access.policy import access_by  # noqa: PLC0415 - the same

    access_by(settings.web.config.file).close()
    output.write(effective_configuration(settings))
    warnings = warnings_of(read_privilege(settings.storage.root))
    _complain(*(f"serve, started like this, warns: {warning}" for warning in warnings))
    return _DONE


def _healthcheck(settings: Settings, _parsed: argparse.Namespace, output: TextIO) -> int:
    from exporter.commands.healthcheck import ask_health  # noqa: PLC0415 - see above

    output.write(ask_health(settings.web.listen_address, settings.web.config.file))
    return _DONE


COMMANDS = {
    "serve": Command("scan in the background and serve metrics over HTTP", _serve),
    "collect": Command("scan once and write the metrics as text", _collect, _add_collect_options),
    "report": Command("scan once and write a report for people", _report, _add_report_options),
    "plan": Command(
        "write which manifests to delete for a policy; deletes nothing", _plan, _add_plan_options
    ),
    "verify": Command(
        "hash the blobs again and tell which are corrupt", _verify, _add_verify_options
    ),
    "check-config": Command("say what is wrong with the configuration, or print it", _check_config),
    "healthcheck": Command("ask a running exporter whether it is healthy", _healthcheck),
}
