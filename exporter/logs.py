"""The log: one line per event on standard error, as logfmt or JSON."""

import json
import logging
import sys
from datetime import UTC, datetime
from typing import Any

_FIELDS = "fields"


def fields(**values: object) -> dict[str, dict[str, object]]:
    """Give structured values for a log call: ``log.info("scanned", extra=fields(blobs=3))``."""
    return {_FIELDS: values}


def set_up_logging(level: str, log_format: str) -> None:
    """Send all loggers of the process, the HTTP server's too, to standard error."""
    handler = logging.StreamHandler(sys.stderr)
    handler.setFormatter(JsonFormatter() if log_format == "json" else LogfmtFormatter())
    logging.basicConfig(level=level.upper(), handlers=[handler], force=True)
    for chatty in ("httpx", "httpcore", "asyncio", "uvicorn"):
        logging.getLogger(chatty).setLevel(logging.WARNING)
    logging.getLogger("watchdog").setLevel(logging.ERROR)  # what it warns of is said once, here


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
    """Writes ``ts=... level=info logger=refresh msg="scanned the store" blobs=3``."""

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
