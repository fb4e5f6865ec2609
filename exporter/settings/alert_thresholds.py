"""Thresholds of the alerts: their defaults, and what an operator may set.

The alert rules compare with ``docker_registry_alert_threshold`` instead of numbers of their own:
thresholds are set here, and the rule files stay as shipped. Alerts on a condition (a filesystem is
read-only, the API is down) have no threshold.
"""

from collections.abc import Iterator
from typing import Self, TypeVar

from pydantic import Field, model_validator

from exporter.domain.alert_threshold import AlertThreshold
from exporter.settings.value_types import Count, Ratio, Seconds, SettingsGroup, Size

Group = TypeVar("Group")

_GIB = 1024**3
_DAY = 86400
_STALE_INTERVALS = 3
_STALE_AT_LEAST_SECONDS = 900.0


def _check_order(group: Group, warning: float, critical: float, *, falling: bool) -> Group:
    """Raise ValueError for a warning that would fire after its critical alert."""
    if (warning < critical) if falling else (warning > critical):
        direction = "above" if falling else "below"
        raise ValueError(
            f"warning {warning:g} would come after critical {critical:g}; "
            f"set warning {direction} critical"
        )
    return group


class _BelowRatio(SettingsGroup):
    """Fires below a share of the whole."""

    warning: Ratio = Field(0.15, description="share left, e.g. 0.15")
    critical: Ratio = Field(0.05, description="share left, e.g. 0.05")

    @model_validator(mode="after")
    def _ordered(self) -> Self:
        return _check_order(self, self.warning, self.critical, falling=True)


class _AboveRatio(SettingsGroup):
    """Fires above a share of the whole."""

    warning: Ratio = Field(0.80, description="share used, e.g. 0.80")
    critical: Ratio = Field(0.95, description="share used, e.g. 0.95")

    @model_validator(mode="after")
    def _ordered(self) -> Self:
        return _check_order(self, self.warning, self.critical, falling=False)


class _Growth(_AboveRatio):
    """Fires when a day's growth is above a share of the filesystem."""

    warning: Ratio = Field(0.05, description="share of the filesystem that a day's growth takes")
    critical: Ratio = Field(0.15, description="share of the filesystem that a day's growth takes")


class _BelowSeconds(SettingsGroup):
    """Fires when less time than this is left."""

    warning: Seconds = Field(4.0 * _DAY, description="time left, e.g. 4d")
    critical: Seconds = Field(1.0 * _DAY, description="time left, e.g. 24h")

    @model_validator(mode="after")
    def _ordered(self) -> Self:
        return _check_order(self, self.warning, self.critical, falling=True)


class _Certificate(_BelowSeconds):
    """Fires when a certificate expires sooner than this."""

    warning: Seconds = Field(14.0 * _DAY, description="time left, e.g. 14d")
    critical: Seconds = Field(3.0 * _DAY, description="time left, e.g. 3d")


class _RepositoryGrowth(SettingsGroup):
    warning: Size = Field(5 * _GIB, description="a day's growth of one repository, e.g. 5GiB")


class _Reclaimable(SettingsGroup):
    warning: Ratio = Field(0.30, description="share of all blob bytes")


class _TagCount(SettingsGroup):
    warning: Count = Field(100.0, description="tags of one repository")


class _Uploads(SettingsGroup):
    warning: Seconds = Field(8.0 * _DAY, description="age of the oldest upload, e.g. 8d")


class _Orphaned(SettingsGroup):
    warning: Size = Field(_GIB, description="bytes of apps that are not known, e.g. 1GiB")


class _BackupHeadroom(SettingsGroup):
    warning: Count = Field(2.0, description="space left, in multiples of the store's size")


class _BackupMissing(SettingsGroup):
    warning: Seconds = Field(2.0 * _DAY, description="age of the newest complete backup, e.g. 2d")


class _MaintenanceFailing(SettingsGroup):
    warning: Seconds = Field(
        8.0 * _DAY, description="time since the maintenance last succeeded, e.g. 8d"
    )


class _ScanStale(SettingsGroup):
    critical: Seconds | None = Field(
        None, description="age of the last scan; unset: 3 x scan.interval, at least 15m"
    )


class AlertSettings(SettingsGroup):
    """Thresholds by alert; each alert's name here is its kebab-case name in the flags."""

    storage_almost_full: _BelowRatio = _BelowRatio()
    storage_filling_up: _BelowSeconds = _BelowSeconds()
    storage_limit_approaching: _AboveRatio = _AboveRatio()
    storage_growth_high: _Growth = _Growth()
    repository_growth_high: _RepositoryGrowth = _RepositoryGrowth()
    inodes_almost_exhausted: _BelowRatio = _BelowRatio()
    reclaimable_high: _Reclaimable = _Reclaimable()
    tag_count_high: _TagCount = _TagCount()
    uploads_abandoned: _Uploads = _Uploads()
    orphaned_repositories: _Orphaned = _Orphaned()
    backup_headroom_low: _BackupHeadroom = _BackupHeadroom()
    backup_missing: _BackupMissing = _BackupMissing()
    maintenance_failing: _MaintenanceFailing = _MaintenanceFailing()
    certificate_expiring: _Certificate = _Certificate()
    scan_stale: _ScanStale = _ScanStale()

    def thresholds(self, scan_interval: float) -> Iterator[AlertThreshold]:
        """Yield every threshold; ``scan_interval`` (seconds) decides when a scan is stale."""
        stale = max(_STALE_INTERVALS * scan_interval, _STALE_AT_LEAST_SECONDS)
        for name, group in self:
            alert = "".join(word.capitalize() for word in name.split("_"))
            for severity, value in group:
                yield AlertThreshold(alert, severity, float(stale if value is None else value))
