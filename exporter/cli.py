"""The command line: from arguments to a command, and its exit code.

Modules that only some commands need are imported by those, so that each starts fast.
"""

import argparse
import difflib
import os
import sys
import time
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from importlib import import_module
from pathlib import Path
from typing import TYPE_CHECKING, TextIO

from exporter import __version__
from exporter.domain.errors import ConfigurationError, ExporterError, ScanCancelledError
from exporter.settings.model import Settings
from exporter.settings.sources import argument_parser, effective_configuration, load_settings
from exporter.support.logs import set_up_logging

if TYPE_CHECKING:
    from exporter.commands.report.run import ReportRequest

PROGRAM = "registry-storage-exporter"

_DONE, _FAILED, _MISUSED, _PARTLY = 0, 1, 2, 3
_INTERRUPTED = 130


@dataclass(frozen=True, slots=True)
class Command:
    """One command.

    Attributes:
        summary: what it does, for the help.
        run: runs it, and returns the exit code.
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
    """Run a command; return its exit code.

    0 done, 1 failed, 2 wrong usage or configuration, 3 done in part.
    """
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
        _forget_output()  # the reader has seen enough
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
    """Keep Python from reporting on exit that its output is not read."""
    os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())


def _serve(settings: Settings, _parsed: argparse.Namespace, _output: TextIO) -> int:
    from exporter.support.stop_signals import stop_signals

    with stop_signals() as wish:  # also while the rest is imported
        from exporter.compose_serve import serve

        serve(settings, PROGRAM, wish)
    return _DONE


def _collect(settings: Settings, parsed: argparse.Namespace, output: TextIO) -> int:
    from exporter.commands.collect import collect
    from exporter.compose import scan

    file = None if parsed.output is None else Path(parsed.output)
    collect(scan(settings, layer_links=parsed.layer_links).subject, file, output)
    return _DONE


def _report(settings: Settings, parsed: argparse.Namespace, output: TextIO) -> int:
    from exporter.commands.report.run import ReportSource, report, request_of
    from exporter.compose import census, command_lines, scan

    request = request_of(parsed)
    if request.disk:
        from exporter.commands.report.disk import report_disk

        store, found = census(settings)
        report_disk(store, found, request.format, output)
        return _DONE
    if request.since is not None:
        return _report_since(settings, request, output)
    scanned = scan(settings)
    source = ReportSource(
        scanned.store,
        scanned.subject.snapshot,
        scanned.options,
        command_lines(settings, PROGRAM, scanned.operator),
        scanned.subject.storage_limit,
        now=time.time(),
        least_available=settings.alerts.storage_almost_full.warning,
    )
    report(source, request, output)
    return _DONE


def _report_since(settings: Settings, request: "ReportRequest", output: TextIO) -> int:
    from exporter.commands.report.since import base_of, report_since
    from exporter.compose import history_of, scan

    history, place = history_of(settings)
    base = base_of(history, place, request.since or 0.0, time.time())
    scanned = scan(settings)
    snapshot, location = scanned.subject.snapshot, scanned.store.location
    report_since(snapshot, location, base, request.format, request.top, output)
    return _DONE


def _plan(settings: Settings, parsed: argparse.Namespace, output: TextIO) -> int:
    from exporter.commands.plan.options import request_of
    from exporter.commands.plan.run import plan
    from exporter.compose import deletion_question, open_platform, retention_policy, scan

    platform = open_platform(settings)
    ownership = None if platform is None else platform.ownership
    request = request_of(parsed, ownership, retention_policy(settings))
    scanned = scan(settings)
    complaint = plan(
        scanned.subject.snapshot,
        scanned.options,
        request,
        store=scanned.store,
        ask_deletion=deletion_question(settings),
        now=time.time(),
        output=output,
        file=None if parsed.output is None else Path(parsed.output),
    )
    if complaint is not None:
        _complain(complaint)
    return _DONE


def _back_up(settings: Settings, parsed: argparse.Namespace, output: TextIO) -> int:
    from exporter.commands.backup.options import task_of
    from exporter.commands.backup.run import Environment, back_up
    from exporter.compose import analysis_options, open_store
    from exporter.support.stop_signals import stop_signals

    task, store = task_of(parsed), open_store(settings)
    old_times = analysis_options(settings, None, store).dating.old_times
    with stop_signals() as should_stop:
        environment = Environment(output, _complain, time.monotonic, should_stop, old_times)
        result = back_up(store, task, environment)
    if result is None or result.was_stopped:
        return _INTERRUPTED
    return _DONE if result.run.complete else _FAILED


def _verify(settings: Settings, parsed: argparse.Namespace, output: TextIO) -> int:
    from exporter.commands.verify.backup import verify_backup
    from exporter.commands.verify.options import task_of
    from exporter.commands.verify.run import Environment, Verdict, verify
    from exporter.compose import open_store
    from exporter.support.stop_signals import stop_signals

    store = open_store(settings)
    task = task_of(parsed, store, os.environ)
    exit_codes = {
        Verdict.SOUND: _DONE,
        Verdict.DAMAGED: _FAILED,
        Verdict.INTERRUPTED: _INTERRUPTED,
    }
    try:
        with stop_signals() as should_stop:
            environment = Environment(output, _complain, time.monotonic, time.sleep, should_stop)
            if task.backup is not None:
                return exit_codes[verify_backup(task, task.backup, environment)]
            return exit_codes[verify(store, task, environment)]
    except BrokenPipeError:
        _forget_output()
        return _FAILED  # it is unknown whether all is sound


def _apply(settings: Settings, parsed: argparse.Namespace, output: TextIO) -> int:
    from exporter.commands.apply.loading import load_plan
    from exporter.commands.apply.options import request_of
    from exporter.commands.apply.run import Ending, Environment, apply
    from exporter.compose import open_store, subject_to_apply
    from exporter.settings.command_lines import restore_command
    from exporter.support.stop_signals import stop_signals

    request = request_of(parsed, has_registry=settings.registry.url is not None)
    undo = restore_command(settings, PROGRAM, request.journal, parsed.config_file)
    exit_codes = {
        Ending.DONE: _DONE,
        Ending.PARTLY: _PARTLY,
        Ending.INTERRUPTED: _INTERRUPTED,
    }
    try:
        with stop_signals() as should_stop:
            plan = load_plan(request, open_store(settings), time.time())
            subject = subject_to_apply(settings, undo, should_stop)
            environment = Environment(output, time.time, time.monotonic, should_stop)
            return exit_codes[apply(subject, plan, request, environment)]
    except ScanCancelledError:
        _complain("interrupted before the first deletion; nothing was changed")
        return _INTERRUPTED
    except BrokenPipeError:
        _forget_output()
        return _FAILED  # nobody knows what was left out


def _restore(settings: Settings, parsed: argparse.Namespace, output: TextIO) -> int:
    from exporter.commands.restore.options import request_of
    from exporter.commands.restore.run import Environment, Verdict, restore
    from exporter.commands.restore.sources import open_source
    from exporter.compose import open_store, registry_editor, restored_path
    from exporter.support.stop_signals import stop_signals

    request = request_of(parsed)
    exit_codes = {
        Verdict.RESTORED: _DONE,
        Verdict.PARTLY: _PARTLY,
        Verdict.INTERRUPTED: _INTERRUPTED,
    }
    try:
        with stop_signals() as should_stop:
            source = open_source(request, _complain)
            path = restored_path(settings)
            environment = Environment(output, _complain, time.time, should_stop, path)
            with registry_editor(settings, request.max_rate, should_stop) as editor:
                store = open_store(settings)
                return exit_codes[restore(request, source, store, editor, environment)]
    except BrokenPipeError:
        _forget_output()
        return _FAILED  # it ended before everything was back


def _check_config(settings: Settings, _parsed: argparse.Namespace, output: TextIO) -> int:
    from exporter.compose import open_store
    from exporter.web.access.policy import access_by

    access_by(settings.web.config.file).close()
    output.write(effective_configuration(settings))
    rights = open_store(settings).excess_rights()
    _complain(*(f"serve, started like this, warns: {warning}" for warning in rights))
    return _DONE


def _healthcheck(settings: Settings, _parsed: argparse.Namespace, output: TextIO) -> int:
    from exporter.commands.healthcheck import ask_health
    from exporter.compose import route_prefix

    web = settings.web
    output.write(ask_health(web.listen_address, web.config.file, route_prefix(web)))
    return _DONE


def _options_of(module: str) -> Callable[[argparse.ArgumentParser], None]:
    """Return a function that adds the options of a command, and imports its module only then."""

    def add(parser: argparse.ArgumentParser) -> None:
        import_module(f"exporter.commands.{module}").add_options(parser)

    return add


COMMANDS = {
    "serve": Command("scan in the background and serve metrics over HTTP", _serve),
    "collect": Command("scan once and write the metrics as text", _collect, _options_of("collect")),
    "report": Command(
        "scan once and write a report for people", _report, _options_of("report.run")
    ),
    "plan": Command(
        "write which manifests to delete for a policy; deletes nothing",
        _plan,
        _options_of("plan.options"),
    ),
    "backup": Command(
        "save the store, or a part of it, as OCI image layouts",
        _back_up,
        _options_of("backup.options"),
    ),
    "apply": Command(
        "carry out a plan by the registry's API, after a backup",
        _apply,
        _options_of("apply.options"),
    ),
    "restore": Command(
        "restore what was deleted, from a backup or a journal",
        _restore,
        _options_of("restore.options"),
    ),
    "verify": Command(
        "hash the blobs again and report which are corrupt", _verify, _options_of("verify.options")
    ),
    "check-config": Command("say what is wrong with the configuration, or print it", _check_config),
    "healthcheck": Command("ask a running exporter whether it is healthy", _healthcheck),
}
