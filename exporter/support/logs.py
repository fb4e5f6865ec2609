"""The log: one line per event on standard error, as logfmt or JSON."""

import json
import logging
import sys
import time
from collections.abc import Callable
from datetime import UTC, datetime
from typing import Any

_FIELDS = "fields"
_REMIND_SECONDS = 3600.0
_MOST_MESSAGES = 100


def fields(**values: object) -> dict[str, dict[str, object]]:
    """Return structured values for a log call: ``log.info("scanned", extra=fields(blobs=3))``."""
    return {_FIELDS: values}


def set_up_logging(level: str, log_format: str) -> None:
    """Send all loggers of the process, the HTTP server's too, to standard error."""
    handler = logging.StreamHandler(sys.stderr)
    handler.setFormatter(JsonFormatter() if log_format == "json" else LogfmtFormatter())
    logging.basicConfig(level=level.upper(), handlers=[handler], force=True)
    for chatty in ("httpx", "httpcore", "asyncio", "uvicorn"):
        logging.getLogger(chatty).setLevel(logging.WARNING)
    logging.getLogger("watchdog").setLevel(
        logging.ERROR
    )  # this program reports what it warns about


class ProblemLog:
    """Logs a problem when it begins, once an hour while it lasts, and when it is over.

    What is retried again and again would otherwise log each failure.
    """

    def __init__(
        self,
        logger: logging.Logger,
        over: str,
        *,
        remind_seconds: float = _REMIND_SECONDS,
        clock: Callable[[], float] = time.monotonic,
    ) -> None:
        """Start without a problem; ``over`` is logged when a problem is over."""
        self._logger = logger
        self._over = over
        self._remind_seconds = remind_seconds
        self._clock = clock
        self._since: float | None = None
        self._due: dict[str, float] = {}

    def record(
        self, message: str, level: int = logging.WARNING, error: BaseException | None = None
    ) -> None:
        """Record a problem, new or lasting; ``error`` is logged with its traceback."""
        now = self._clock()
        if self._since is None:
            self._since = now
        if now < self._due.get(message, now):
            level = logging.DEBUG
        else:
            if len(self._due) >= _MOST_MESSAGES:
                self._due.clear()
            self._due[message] = now + self._remind_seconds
        self._logger.log(level, "%s", message, exc_info=error)

    def end(self) -> None:
        """Record that there is no problem."""
        if self._since is not None:
            self._logger.info("%s", self._over, extra=fields(seconds=self._clock() - self._since))
            self._since = None
            self._due.clear()


def _event(record: logging.LogRecord, formatter: logging.Formatter) -> dict[str, Any]:
    moment = datetime.fromtimestamp(record.created, UTC)
    event: dict[str, Any] = {
        "ts": moment.isoformat(timespec="milliseconds").replace("+00:00", "Z"),
        "level": record.levelname.lower(),
        "logger": record.name.removeprefix("exporter."),
        "msg": record.getMessage(),
        **getattr(record, _FIELDS, {}),
    }
    if record.exc_info:
        event["exception"] = formatter.formatException(record.exc_info)
    return event


class LogfmtFormatter(logging.Formatter):
    """Writes ``ts=... level=info logger=serve.refresh msg="scanned the store" blobs=3``."""

    def format(self, record: logging.LogRecord) -> str:
        """Write one event."""
        event = _event(record, self)
        return " ".join(f"{name}={_logfmt_value(value)}" for name, value in event.items())


class JsonFormatter(logging.Formatter):
    """Writes one JSON object a line."""

    def format(self, record: logging.LogRecord) -> str:
        """Write one event."""
        return json.dumps(_event(record, self), default=str)


def _logfmt_value(value: object) -> str:
    text = f"{value:.3f}" if isinstance(value, float) else str(value)
    if text and all(character.isprintable() and character not in ' "=' for character in text):
        return text
    return json.dumps(text)
