"""Promises of the settings, for any file, flags and variables."""

import io
import os
import re
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import chdir, contextmanager, redirect_stdout
from functools import cached_property, partial
from pathlib import Path

from hypothesis import strategies as st

from exporter.domain.errors import ConfigurationError
from exporter.settings.model import Settings
from exporter.settings.sources import (
    ENVIRONMENT_PREFIX,
    argument_parser,
    effective_configuration,
    flag_name,
    load_settings,
    setting_paths,
    variable_name,
)
from exporter.support.strict_yaml import parse_yaml
from tests.fuzzing import Check, Target, encode_json, json_values

_HELP = {"-h", "--help"}
_LONGEST_PROBLEM = 2_000
_SHORTEST_SECRET = 6
_MOST_OPTIONS = 200
_PASSWORD = variable_name(("registry", "password"))

_PATHS = [path for path in setting_paths() if path != ("registry", "password")]
_VALUES = st.sampled_from(
    ["5m", "1h30m", "1.23456789ms", "50GiB", "2GB", "0", "-1", "true", "no", "/srv/x", "", "https://example.com:996",
     ":10996", "[::1]:1", "5,20", "0.5", "1e999", "team/.*", "(a+)+", "(", "logfmt", "debug", "2",
     "9" * 400, "https://user:secret@example.com/?x", "\ud800", "a\nb", "\u0661"]
) | st.text(max_size=12)  # fmt: skip
_TREES = st.dictionaries(
    st.sampled_from([path[0] for path in _PATHS]) | st.text(max_size=6),
    st.dictionaries(
        st.sampled_from([path[-1].replace("_", "-") for path in _PATHS]) | st.text(max_size=6),
        _VALUES | st.lists(_VALUES, max_size=3) | json_values(("warning", "critical"), _VALUES),
        max_size=4,
    )
    | _VALUES,
    max_size=4,
)


class _Loader:
    """Loads settings, and checks the promises that all of them keep."""

    def __init__(self, directory: Path) -> None:
        self.file = directory / "settings.yml"

    @cached_property
    def usual(self) -> list[str]:
        """The error messages with a harmless text as the password."""
        return list(_messages(self, "x"))

    def load(
        self, arguments: Sequence[str] = (), environment: Mapping[str, str] | None = None
    ) -> Settings | list[str]:
        """Return the settings, or all their problems."""
        parser = argument_parser("exporter", "fuzzed")
        try:
            settings, _ = load_settings(parser, arguments, environment or {})
        except ConfigurationError as error:
            assert error.problems
            assert all(len(each) > 0 for each in error.problems)
            return error.problems
        for path in (settings.storage.root, settings.cache.path, *settings.caprover.config_dir):
            assert path is None or b"\0" not in os.fsencode(path)
        return settings

    def load_file(self, content: bytes) -> Settings | list[str]:
        """Return the settings of a file with this content, or all their problems."""
        self.file.write_bytes(content)
        return self.load(["--config.file", str(self.file)])

    def check_written(self, settings: Settings) -> None:
        """Assert that written settings are read back unchanged."""
        written = effective_configuration(settings)
        assert self.load_file(written.encode()) == settings


_LoaderCheck = Callable[[_Loader, bytes], None]


def _check_file(loader: _Loader, content: bytes) -> None:
    loaded = loader.load_file(content)
    _check_yaml(content)
    if isinstance(loaded, Settings):
        loader.check_written(loaded)
    else:
        assert sum(map(len, loaded)) <= _LONGEST_PROBLEM + 200 * len(content)


def _check_yaml(content: bytes) -> None:
    """Assert that a document becomes text, lists and mappings, at most two per byte.

    A single question mark is a mapping of nothing to nothing.
    """
    try:
        document = parse_yaml(content.decode())
    except ValueError:  # also for bytes that are not UTF-8
        return
    assert _count(document) <= 2 * len(content) + 1


def _count(document: object) -> int:
    """Return the number of all values; assert that each has a promised type."""
    count, rest = 0, [document]
    while rest:  # no recursion: it may be nested as deep as the stack
        value = rest.pop()
        count += 1
        if isinstance(value, dict):
            rest += [each for item in value.items() for each in item]
        elif isinstance(value, list):
            rest += value
        else:
            assert value is None or type(value) is str
    return count


@contextmanager
def _loading(check: _LoaderCheck, directory: Path) -> Iterator[Check]:
    with chdir(directory):
        yield partial(check, _Loader(directory))


CONFIGURATIONS = Target(
    "configurations",
    "A file of any bytes gives settings that read back the same, or a list of the errors",
    partial(_loading, _check_file),
    _TREES.map(encode_json) | st.text(max_size=200).map(lambda text: text.encode()),
)


def _check_options(loader: _Loader, content: bytes) -> None:
    """Load lines as arguments, except those that set a variable of the exporter."""
    # Neither can hold a NUL; argparse needs quadratic time in their number.
    lines = os.fsdecode(content.replace(b"\0", b"")).split("\n")[:_MOST_OPTIONS]
    variables = [each for each in lines if each.startswith(ENVIRONMENT_PREFIX) and "=" in each]
    environment = dict(each.split("=", 1) for each in variables)
    arguments = [each for each in lines if each not in variables]
    try:
        with redirect_stdout(io.StringIO()):
            loaded = loader.load(arguments, environment)
    except SystemExit as end:
        assert end.code == 0
        assert _HELP & set(arguments)
        return
    if isinstance(loaded, Settings) and loaded.registry.password is None:
        loader.check_written(loaded)


_OPTIONS = st.lists(
    st.tuples(
        st.sampled_from([flag_name(path) for path in _PATHS])
        | st.sampled_from([variable_name(path) for path in [*_PATHS, ("registry", "password")]]),
        _VALUES,
    ),
    max_size=5,
).map(lambda pairs: "\n".join("=".join(pair) for pair in pairs).encode("utf-8", "replace"))

OPTIONS = Target(
    "options",
    "Any flags and variables give settings that read back the same, or a list of the errors",
    partial(_loading, _check_options),
    _OPTIONS,
)


def _check_secret(loader: _Loader, content: bytes) -> None:
    """Assert that error messages do not show a password in the wrong place."""
    secret = os.fsdecode(content).replace("\0", "")
    for message, usual in zip(_messages(loader, secret), loader.usual, strict=True):
        for part in re.findall(rf"\w{{{_SHORTEST_SECRET},}}", secret):
            assert part not in message or part in usual, message


def _messages(loader: _Loader, secret: str) -> Iterator[str]:
    """Yield the error messages for a secret in wrong places, some places at a time."""
    url = f"https://user:{secret}@registry.example.com"
    flag, variable = "--registry.url", variable_name(("registry", "url"))
    typo = f"{ENVIRONMENT_PREFIX}REGISTRY_PASWORD"
    line = secret.partition("\n")[0].encode("utf-8", "surrogateescape")
    for arguments, environment, before, after in (
        ([f"{flag}={url}", f"--registry.password={secret}"], {_PASSWORD: secret}, "password: ", ""),
        (
            [flag, url, f"--registry.pasword={secret}"],
            {typo: secret},
            "registry:\n  password: ",
            "",
        ),
        ([], {variable: url}, "registry:\n  pasword: ", ""),
        ([], {}, "registry:\n  url: https://user:", "@example.com"),
    ):
        loader.file.write_bytes(before.encode() + line + after.encode() + b"\n")
        yield _message_of(loader.load([*arguments, f"--config.file={loader.file}"], environment))


def _message_of(loaded: Settings | list[str]) -> str:
    return repr(loaded) if isinstance(loaded, Settings) else "\n".join(loaded)


SECRETS = Target(
    "secrets",
    "A password in the wrong place, in a flag, a variable, a URL or the file, is never shown",
    partial(_loading, _check_secret),
    st.text(min_size=_SHORTEST_SECRET, max_size=30).map(lambda text: text.encode()),
)
