"""What a deletion plan is asked for, and which of it makes no sense."""

import re
import shlex
from dataclasses import dataclass
from decimal import Decimal

from exporter.analysis.deletion.selection import Selection
from exporter.domain.errors import ConfigurationError
from exporter.domain.text import printable
from exporter.domain.uses import OwnershipRules, Use

USES_UNKNOWN = (
    "Without --caprover.config-dir it is unknown which tags are in use: only untagged manifests "
    "are known to be safe."
)
_APPS_UNKNOWN = "which apps exist is not known; set --caprover.config-dir, e.g. /captain/data"
_UNITS = (("d", 86400), ("h", 3600), ("m", 60))


@dataclass(frozen=True, slots=True)
class PlanRequest:
    """What options or a page ask for.

    Attributes:
        selection: which tags are to go.
        include_children: whether manifests that only deleted indexes list go too.
        free: how many bytes are to be freed, in place of a selection.
        protect: what never goes, by its whole ``repository:tag`` or ``repository@digest``.
        policy: further selections, of the configured policy.

    """

    selection: Selection
    include_children: bool = False
    free: int | None = None
    protect: tuple["re.Pattern[str]", ...] = ()
    policy: tuple[Selection, ...] = ()

    @property
    def selections(self) -> tuple[Selection, ...]:
        """All selections; what any of them selects is to go."""
        return self.policy or (self.selection,)

    def __str__(self) -> str:
        """Return it as the options of ``plan``."""
        selection, parts = self.selection, []
        if self.policy:
            parts.append("--policy")
        if self.free is not None:
            parts.append(f"--free {self.free}")
        if selection.keep_last is not None:
            parts.append(f"--keep-last {selection.keep_last}")
        if selection.orphaned:
            parts.append("--orphaned")
        if selection.untagged:
            parts.append("--untagged")
        if selection.detached:
            parts.append("--detached")
        if selection.match is not None:
            parts.append(f"--match {_quoted(selection.match)}")
        if selection.older_than is not None:
            parts.append(f"--older-than {_duration(selection.older_than)}")
        parts += (f"--protect {_quoted(pattern)}" for pattern in self.protect)
        if self.include_children:
            parts.append("--include-children")
        return " ".join(parts)


@dataclass(frozen=True, slots=True)
class RetentionPolicy:
    """What may go at any time, as configured. None: nothing of that kind.

    Attributes:
        keep_last: tags that are not among so many newest ones of their repository; several numbers
            are only priced.
        untagged: manifests that no tag reaches, and that are older, in seconds.
        orphaned: tags of orphaned repositories that are older, in seconds.

    """

    keep_last: tuple[int, ...] = ()
    untagged: float | None = None
    orphaned: float | None = None


def policy_request(
    policy: RetentionPolicy,
    protect: tuple["re.Pattern[str]", ...],
    ownership: OwnershipRules | None,
) -> PlanRequest:
    """Return the request for the configured policy. Raises ConfigurationError."""
    selections = []
    if len(policy.keep_last) > 1:
        numbers = ", ".join(map(str, policy.keep_last))
        problem = (
            f"--retention.keep-last is given several times ({numbers}): each is priced, and which "
            "one to carry out is not known; give one, for instance as "
            f"--retention.keep-last {policy.keep_last[0]}"
        )
        raise ConfigurationError([f"--policy: {problem}"])
    if policy.keep_last:
        selections.append(Selection(keep_last=policy.keep_last[0]))
    if policy.orphaned is not None:
        selections.append(Selection(orphaned=True, older_than=policy.orphaned))
    if policy.untagged is not None:
        selections.append(Selection(untagged=True, older_than=policy.untagged))
    if not selections:
        options = "--retention.keep-last N, --retention.orphaned AGE, --retention.untagged AGE"
        raise ConfigurationError([f"--policy: none is configured; set one or more of {options}"])
    if policy.orphaned is not None and not knows_orphans(ownership):
        raise ConfigurationError([f"--retention.orphaned: {_APPS_UNKNOWN}"])
    return PlanRequest(
        Selection(), include_children=True, protect=protect, policy=tuple(selections)
    )


def selection_request(
    *,
    keep_last: int | None,
    orphaned: bool,
    match: "re.Pattern[str] | None",
    older_than: float | None,
    untagged: bool,
    detached: bool,
    include_children: bool,
    protect: "re.Pattern[str] | None",
) -> PlanRequest:
    """Return the request for a selection; see :class:`Selection` and :class:`PlanRequest`."""
    return PlanRequest(
        Selection(keep_last, orphaned, match, older_than, untagged, detached),
        include_children,
        protect=() if protect is None else (protect,),
    )


def check_request(request: PlanRequest, ownership: OwnershipRules | None) -> None:
    """Raise ConfigurationError for a request that makes no sense."""
    selection = request.selection
    if request.free is None:
        _check(selection)
    elif not selection.is_empty:
        problem = "it chooses by itself; use --protect REGEX for what must stay"
        raise ConfigurationError([f"--free: not together with a selection: {problem}"])
    if selection.orphaned and not knows_orphans(ownership):
        raise ConfigurationError([f"--orphaned: {_APPS_UNKNOWN}"])


def knows_orphans(ownership: OwnershipRules | None) -> bool:
    """Return whether a platform can say which repositories are orphaned."""
    return ownership is not None and Use.ORPHANED in ownership.known_uses


def _check(selection: Selection) -> None:
    """Raise ConfigurationError for a selection that is empty, or of different things."""
    if selection.is_empty:
        options = "--keep-last N, --orphaned, --untagged, --detached, --match RE, --older-than AGE"
        options += ", or --policy, or --free SIZE"
        raise ConfigurationError([f"plan: nothing is selected; give one or more of {options}"])
    given = {
        "--untagged": selection.untagged,
        "--detached": selection.detached,
        "--keep-last": selection.keep_last is not None,
    }
    together = [option for option, is_given in given.items() if is_given]
    if len(together) > 1:
        first, second = together[:2]
        raise ConfigurationError([f"{second}: not together with {first}; make a plan for each"])


def _quoted(pattern: "re.Pattern[str]") -> str:
    # it stands in a comment: a line break in it would begin a line that is executed
    return printable(shlex.quote(pattern.pattern))


def _duration(seconds: float) -> str:
    """Return a duration that parses as the same value."""
    for unit, length in _UNITS:
        if seconds % length == 0:
            return f"{seconds / length:.0f}{unit}"
    return f"{Decimal(repr(seconds)).normalize():f}s"
