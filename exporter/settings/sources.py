"""Read settings from flags, variables and a YAML file; flag beats variable beats file.

All problems of all sources are reported together, each with the name that the operator used.
"""

import argparse
import difflib
import os
import re
from collections.abc import Container, Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, NoReturn

import yaml
from pydantic import BaseModel, ValidationError
from pydantic_settings import CliSettingsSource

from exporter.domain.errors import ConfigurationError
from exporter.settings.model import Settings
from exporter.support.strict_yaml import parse_yaml

ENVIRONMENT_PREFIX = "REGISTRY_EXPORTER_"

SettingPath = tuple[str, ...]
"""Path of a setting in the model, e.g. ``("registry", "password_file")``."""

_PASSWORD: SettingPath = ("registry", "password")
_ROOT: SettingPath = ("storage", "root")
_CACHE: SettingPath = ("cache", "path")
_FILES: tuple[SettingPath, ...] = (("registry", "password_file"), ("registry", "ca_file"))
_CONFIG_FILE_VARIABLE = f"{ENVIRONMENT_PREFIX}CONFIG_FILE"
_MAX_FILE_BYTES = 1024 * 1024
# Kubernetes and container links set these for a service named registry-exporter
_SERVICE_VARIABLE = re.compile(
    r"(\w+_)?(SERVICE_(HOST|PORT\w*)|PORT_\d+_(TCP|UDP)\w*)|PORT|NAME|ENV_\w+"
)


@dataclass(frozen=True, slots=True)
class _Given:
    """A value as the operator gave it, and the name that was used."""

    value: Any
    name: str


_Values = dict[SettingPath, _Given]


class _Parser(argparse.ArgumentParser):
    def error(self, message: str) -> NoReturn:
        raise ConfigurationError([f"{message}; see --help"])


def argument_parser(prog: str, description: str) -> argparse.ArgumentParser:
    """Return a parser of flags that raises ConfigurationError instead of exiting."""
    parser = _Parser(
        prog=prog,
        usage="%(prog)s [--GROUP.NAME VALUE ...]",
        description=description,
        allow_abbrev=False,
        formatter_class=argparse.RawDescriptionHelpFormatter,
        epilog=(
            "Every setting is a flag, a variable and a key of the YAML file: --storage.root is\n"
            "REGISTRY_EXPORTER_STORAGE_ROOT and, in the file, storage: {root: ...}.\n"
            "Flag beats variable beats file. A password is never a flag: give a file, or set\n"
            "REGISTRY_EXPORTER_REGISTRY_PASSWORD."
        ),
    )
    parser.add_argument(
        "--config.file", dest="config_file", metavar="FILE", help="YAML file with settings"
    )
    return parser


def load_settings(
    parser: argparse.ArgumentParser, arguments: Sequence[str], environment: Mapping[str, str]
) -> tuple[Settings, argparse.Namespace]:
    """Read all settings; also return the parsed arguments, for the caller's own flags.

    ``parser`` comes from :func:`argument_parser`. Raises ConfigurationError with every problem
    found.
    """
    problems: list[str] = []
    flags, parsed = _read_flags(parser, arguments, problems)
    variables = _read_environment(environment, problems)
    file = parsed.config_file or environment.get(_CONFIG_FILE_VARIABLE)
    parsed.config_file = file  # also for commands that name it
    given: _Values = {}
    if file:
        given |= _read_file(Path(file), problems)
    given |= variables
    given |= flags
    settings = None
    try:
        settings = Settings.model_validate(_nest(given))
    except ValidationError as error:
        problems += [_explain(each, given) for each in error.errors(include_url=False)]
    problems += _check_files(given) + _check_cache(given)
    if problems or settings is None:
        raise ConfigurationError(problems)
    return settings, parsed


def setting_paths(model: type[BaseModel] = Settings) -> Iterator[SettingPath]:
    """Yield the path of every setting."""
    for name, field in model.model_fields.items():
        annotation = field.annotation
        if isinstance(annotation, type) and issubclass(annotation, BaseModel):
            yield from ((name, *path) for path in setting_paths(annotation))
        else:
            yield (name,)


def flag_name(path: SettingPath) -> str:
    """Return a setting's name as a flag, e.g. ``--registry.password-file``."""
    return f"--{'.'.join(path).replace('_', '-')}"


def variable_name(path: SettingPath) -> str:
    """Return a setting's name as a variable, e.g. ``REGISTRY_EXPORTER_REGISTRY_PASSWORD_FILE``."""
    return ENVIRONMENT_PREFIX + "_".join(path).upper()


def effective_configuration(settings: Settings) -> str:
    """Return the settings as an equivalent YAML file; a password is masked."""
    values = settings.model_dump(mode="json", exclude_none=True)
    password = values["registry"].pop("password", None)
    note = f"# registry.password: {password}, from {variable_name(_PASSWORD)}\n" if password else ""
    groups = {name: group for name, group in values.items() if group}
    return yaml.safe_dump(_kebab(groups), sort_keys=False) + note


def _read_flags(
    parser: argparse.ArgumentParser, arguments: Sequence[str], problems: list[str]
) -> tuple[_Values, argparse.Namespace]:
    # only its flags are used: its decoding of values would hide what was given
    CliSettingsSource(
        Settings,
        root_parser=parser,
        cli_kebab_case=True,
        cli_implicit_flags=True,
        cli_avoid_json=True,
        cli_hide_none_type=True,
        add_argument_method=_add_flag,
    )
    parsed, unknown = parser.parse_known_args(arguments)
    flags = [flag_name(path) for path in setting_paths() if path != _PASSWORD]
    for before, each in zip(["", *unknown], unknown, strict=False):
        if each.startswith("-"):
            name = _name_only(each)
            problems.append(f"{name}: unknown option{_did_you_mean(name, flags)}")
        elif not before.startswith("-") or "=" in before:
            # the argument after an unknown option is its value, which may be a secret
            problems.append(f"{each}: unexpected argument; a command comes first, before all flags")
    paths = {".".join(path): path for path in setting_paths()}
    values = {
        # a repeatable flag is a list
        paths[name]: _Given(
            value[0] if isinstance(value, list) and len(value) == 1 else value,
            flag_name(paths[name]),
        )
        for name, value in vars(parsed).items()
        if name in paths
    }
    if values.pop(_PASSWORD, None) is not None:
        problems.append(
            "--registry.password: everybody on this host can read a password in a flag; "
            f"use --registry.password-file or {variable_name(_PASSWORD)}"
        )
    return values, parsed


def _add_flag(group: argparse.ArgumentParser, name: str, **options: Any) -> None:  # noqa: ANN401 - argparse's
    """Show a flag's value by its name, not by its Python type.

    A flag for a whole group, as JSON, is left out: a command may have an option of that name.
    """
    if "." not in name:
        return
    if "choices" not in options and "metavar" in options:
        options["metavar"] = name.rpartition(".")[2].upper()
    group.add_argument(name, **options)


def _read_environment(environment: Mapping[str, str], problems: list[str]) -> _Values:
    known = {variable_name(path): path for path in setting_paths()}
    values: _Values = {}
    for name, value in environment.items():
        if name in known:
            if value:  # Compose passes unset variables on as empty ones
                values[known[name]] = _Given(value, name)
        elif name.startswith(ENVIRONMENT_PREFIX) and not _is_expected(name):
            problems.append(f"{name}: unknown variable{_did_you_mean(name, known)}")
    return values


def _is_expected(variable: str) -> bool:
    rest = variable.removeprefix(ENVIRONMENT_PREFIX)
    return variable == _CONFIG_FILE_VARIABLE or _SERVICE_VARIABLE.fullmatch(rest) is not None


def _read_file(path: Path, problems: list[str]) -> _Values:
    try:
        if path.stat().st_size > _MAX_FILE_BYTES:
            problems.append(f"{path}: larger than {_MAX_FILE_BYTES} bytes; not a settings file")
            return {}
        content = parse_yaml(path.read_text(encoding="utf-8"))
    except OSError as error:
        problems.append(f"--config.file {path}: cannot be read: {error.strerror}")
        return {}
    except ValueError as error:
        problems.append(f"--config.file {path}: not valid YAML: {error}")
        return {}
    if content is None:
        return {}
    if not isinstance(content, dict):
        problems.append(
            f"--config.file {path}: holds no settings; write e.g. storage: {{root: /x}}"
        )
        return {}
    values = {}
    known = {path[:length] for path in setting_paths() for length in range(1, len(path) + 1)}
    for place, value in _flatten(content):
        setting = tuple(part.replace("-", "_") for part in place)
        if value is None and setting in known:
            continue  # a key without a value is not given
        known_path = _as_far_as_known(setting, known)
        values[known_path] = _Given(value, f"{'.'.join(place[: len(known_path)])} in {path}")
    if values.pop(_PASSWORD, None) is not None:
        problems.append(f"registry.password in {path}: keep it apart; use registry.password-file")
    return values


def _as_far_as_known(setting: SettingPath, known: Container[SettingPath]) -> SettingPath:
    """Cut off what is below an unknown name or the password: it may be a password in braces."""
    whole = len(setting)
    ends = (length for length in range(1, whole) if setting[:length] not in known)
    return _PASSWORD if setting[: len(_PASSWORD)] == _PASSWORD else setting[: next(ends, whole)]


def _check_files(given: _Values) -> list[str]:
    """Return a problem for each named file that cannot be read, whatever else is wrong."""
    problems = []
    for path in _FILES:
        if path in given and isinstance(given[path].value, str):
            known = given[path]
            try:
                Path(known.value).read_text(encoding="utf-8")
            except OSError as error:
                problems.append(f"{known.name} {known.value}: cannot be read: {error.strerror}")
            except UnicodeDecodeError:  # its message would quote a byte of the password
                problems.append(f"{known.name} {known.value}: is not UTF-8")
            except ValueError:
                continue  # not a path: the model reports it
    return problems


def _check_cache(given: _Values) -> list[str]:
    """Return a problem if the cache would be in the store, judged by the paths alone."""
    cache, root = given.get(_CACHE), given.get(_ROOT)
    store = Settings().storage.root if root is None else root.value
    if cache is None or not isinstance(cache.value, str) or not isinstance(store, str | Path):
        return []
    if not Path(os.path.abspath(cache.value)).is_relative_to(os.path.abspath(store)):  # noqa: PTH100 - pathlib keeps ..
        return []
    place = "is in the store" if root is None else f"is in the store, {root.name}"
    remedy = "which is never written to; give a file elsewhere"
    return [f"{cache.name} {cache.value}: {place} {store}, {remedy}"]


def _explain(error: Any, given: _Values) -> str:  # noqa: ANN401 - pydantic's ErrorDetails
    """Return the message of a validation error: option, value and remedy."""
    path = tuple(str(part) for part in error["loc"])
    known = given.get(path)
    if known is None and path[:-1] in given:  # one of several values
        known = _Given(error["input"], given[path[:-1]].name)
    name = known.name if known else ".".join(path).replace("_", "-")
    if error["type"] == "extra_forbidden":
        return f"{name}: unknown setting{_hint('.'.join(path).replace('_', '-'))}"
    if error["type"] == "model_type":
        return f"{name}: is a group of settings; write them below it, indented"
    value = "" if known is None or path == _PASSWORD else f" {_without_credentials(known.value)}"
    message = error["msg"].removeprefix("Value error, ")
    return f"{name}{value}: {message[0].lower()}{message[1:]}"


def _hint(unknown: str) -> str:
    names = {".".join(each).replace("_", "-") for each in setting_paths() if each != _PASSWORD}
    if unknown in names:
        group, _, name = unknown.rpartition(".")
        return f"; write {name} below {group}, indented"
    return _did_you_mean(unknown, names)


def _without_credentials(value: object) -> str:
    """Remove what may be a password in a URL, well-formed or not."""
    text = re.sub(r"^(\w+://)?.*@", r"\1<secret>@", str(value), flags=re.DOTALL)
    return re.sub(r"(://[^?#]*[?#]).*", r"\1<secret>", text, flags=re.DOTALL) or "''"


def _name_only(argument: str) -> str:
    """Remove what follows ``=``, which may be a secret."""
    return argument.partition("=")[0]


def _did_you_mean(name: str, known: "Mapping[str, Any] | Sequence[str] | set[str]") -> str:
    close = difflib.get_close_matches(name, list(known), n=1)
    return f"; did you mean {close[0]}?" if close else ""


def _flatten(
    nested: Mapping[Any, Any], path: SettingPath = ()
) -> Iterator[tuple[SettingPath, Any]]:
    for name, value in nested.items():
        place = (*path, str(name))
        if isinstance(value, dict) and value:
            yield from _flatten(value, place)
        else:
            yield place, value


def _nest(values: _Values) -> dict[str, Any]:
    nested: dict[str, Any] = {}
    for path, given in values.items():
        _put(nested, path, given.value)
    return nested


def _put(nested: dict[str, Any], path: SettingPath, value: object) -> None:
    for name in path[:-1]:
        inner = nested.setdefault(name, {})
        if not isinstance(inner, dict):
            return  # a group was given a single value, which the model reports
        nested = inner
    nested[path[-1]] = value


def _kebab(nested: Mapping[str, Any]) -> dict[str, Any]:
    return {
        name.replace("_", "-"): _kebab(value) if isinstance(value, dict) else value
        for name, value in nested.items()
    }
