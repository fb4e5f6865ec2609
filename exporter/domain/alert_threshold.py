"""A threshold of an alert, as the alert rules read it."""

from dataclasses import dataclass


@dataclass(frozen=True, slots=True)
class AlertThreshold:
    """One threshold as the rules read it.

    Attributes:
        alert: the alert's name without ``DockerRegistry``.
        severity: ``warning`` or ``critical``.
        value: in the base unit of what it is compared with.

    """

    alert: str
    severity: str
    value: float
