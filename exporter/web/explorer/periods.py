"""The parameter ``days``: over which period growth is drawn, and links to the others."""

from collections.abc import Mapping
from dataclasses import dataclass

from exporter.views.over_time.series import Period
from exporter.web.explorer.links import Links
from exporter.web.explorer.parameters import Parameters

PARAMETER = "days"
_USUAL = Period.MONTH
_NAMES = {
    Period.DAY: "24 hours",
    Period.WEEK: "7 days",
    Period.MONTH: "30 days",
    Period.YEAR: "365 days",
}


@dataclass(frozen=True, slots=True)
class PeriodLink:
    """A link to a page with another period.

    Attributes:
        name: what it says.
        address: of the page.
        is_current: whether this is the period of the page.

    """

    name: str
    address: str
    is_current: bool


def read_period(parameters: Parameters) -> Period:
    """Return the period that is asked for. Raises BadParameterError."""
    return parameters.choice(PARAMETER, Period) or _USUAL


def period_parameter(period: Period) -> Period | None:
    """Return the parameter for a period; None for the one that a page has without it."""
    return None if period is _USUAL else period


def period_links(
    links: Links, path: str, given: Mapping[str, object], current: Period, section: str
) -> list[PeriodLink]:
    """Return a link to a section of a page for each period; ``given`` are its parameters."""
    return [
        PeriodLink(
            name,
            links.to(path, {**given, PARAMETER: period_parameter(period)}, section),
            period is current,
        )
        for period, name in _NAMES.items()
    ]
