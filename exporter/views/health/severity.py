"""How bad something is, in the words of the alerts."""

import enum


class Severity(enum.StrEnum):
    """The severity of a problem, the worst first: as of the alert that reports it."""

    CRITICAL = "critical"
    WARNING = "warning"
    INFO = "info"
