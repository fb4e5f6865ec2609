"""The web configuration in use: ``--web.config.file``, read again when it or its files change."""

import logging
import ssl
from pathlib import Path

from exporter.domain.errors import ConfigurationError
from exporter.support.logs import fields
from exporter.web.access.config_file import WebConfig, parse_web_config
from exporter.web.access.tls import make_context

_log = logging.getLogger(__name__)

_MAX_FILE_BYTES = 1024 * 1024

_Stamp = tuple[int, int, int, int]
"""Identifies a file's content: device, inode, size and change time."""


class LiveWebConfig:
    """The configuration in use: the newest valid one.

    A changed file is read again before the next request or handshake. If it is invalid, the log
    says so once, and the previous configuration stays in use.
    """

    def __init__(self, path: Path) -> None:
        """Read ``path``. Raises ConfigurationError with every problem found."""
        self._path = path
        self._stamps: dict[Path, _Stamp | None] = {}
        try:
            self._config, self._context = self._read()
        except ValueError as error:
            problems = str(error).splitlines()
            raise ConfigurationError([self._say(each) for each in problems]) from error

    @property
    def is_tls(self) -> bool:
        """Whether connections are encrypted; this never changes."""
        return self._context is not None

    @property
    def config(self) -> WebConfig:
        """The content of the file."""
        self._refresh()
        return self._config

    @property
    def context(self) -> ssl.SSLContext | None:
        """The context of the next handshake, with the certificate that is on the disk now."""
        self._refresh()
        return self._context

    def _refresh(self) -> None:
        """Read everything again if a file has changed."""
        if all(_stamp(path) == stamp for path, stamp in self._stamps.items()):
            return
        try:
            config, context = self._read_again()
        except ValueError as error:
            for problem in str(error).splitlines():
                _log.error("%s; the previous configuration stays in use", self._say(problem))
            return
        self._config, self._context = config, context
        _log.info("read the changed web configuration", extra=fields(file=self._path))

    def _read_again(self) -> tuple[WebConfig, ssl.SSLContext | None]:
        config, context = self._read()
        if (context is None) == self.is_tls:
            raise ValueError(
                "tls_server_config: can be added or removed only by a restart; restart"
            )
        return config, context

    def _read(self) -> tuple[WebConfig, ssl.SSLContext | None]:
        """Read all files, and record their stamps. Raises ValueError, one problem per line."""
        known = self._stamps  # also of files that are no longer named, until everything is valid
        self._stamps = known | {self._path: _stamp(self._path)}
        config = parse_web_config(_read_text(self._path), self._path.parent)
        if config.tls is None:
            context, files = None, {}
        else:
            files = {path: _stamp(path) for path in config.tls.files}
            self._stamps |= files
            context = make_context(config.tls)
        self._stamps = {self._path: self._stamps[self._path], **files}
        return config, context

    def _say(self, problem: str) -> str:
        return f"--web.config.file {self._path}: {problem}"


def _read_text(path: Path) -> str:
    try:
        with path.open("rb") as file:
            content = file.read(_MAX_FILE_BYTES + 1)
    except OSError as error:
        raise ValueError(f"cannot be read: {error.strerror}") from error
    if len(content) > _MAX_FILE_BYTES:
        raise ValueError(f"is larger than {_MAX_FILE_BYTES} bytes; not a web configuration")
    try:
        return content.decode()
    except UnicodeDecodeError:
        raise ValueError("is not UTF-8") from None  # its message would quote a byte of a hash


def _stamp(path: Path) -> _Stamp | None:
    """Return the stamp of a file; None if it cannot be read."""
    try:
        status = path.stat()
    except OSError:
        return None
    return status.st_dev, status.st_ino, status.st_size, status.st_mtime_ns
