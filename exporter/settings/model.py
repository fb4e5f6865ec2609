"""The settings: one typed, frozen model.

:mod:`exporter.settings.sources` reads them from flags, variables and a file.
"""

import argparse
from pathlib import Path
from typing import Literal, Self

from pydantic import Field, SecretStr, model_validator
from pydantic_settings import BaseSettings, PydanticBaseSettingsSource, SettingsConfigDict

from exporter.settings.alert_thresholds import AlertSettings
from exporter.settings.value_types import (
    Address,
    Connections,
    Counts,
    Dialect,
    Duration,
    DurationOrZero,
    FilePath,
    FilePaths,
    HeaderSize,
    HistorySize,
    ImagePrefix,
    NamePatterns,
    Operations,
    RoutePrefix,
    SettingsGroup,
    Size,
    Url,
)
from exporter.support.quantities import ListenAddress


class StorageSettings(SettingsGroup):
    """The store itself."""

    root: FilePath = Field(
        Path("/captain/data/registry"),
        description="the registry's root directory (holds docker/registry/v2)",
    )
    limit: Size | None = Field(None, description="a budget for the store, e.g. 50GiB")


class ScanSettings(SettingsGroup):
    """When the store is read, and how fast."""

    interval: Duration = Field(300.0, description="time between refreshes, e.g. 5m")
    watch: bool = Field(default=True, description="refresh within seconds of a change")
    max_ops_per_second: Operations | None = Field(
        None, description="read at most N files and directories a second, e.g. 1000"
    )
    census_interval: DurationOrZero = Field(
        86400.0, description="time between censuses of the disk, e.g. 7d; 0 takes none"
    )


class CacheSettings(SettingsGroup):
    """What is kept over a restart."""

    path: FilePath | None = Field(
        None,
        description="file that keeps what a scan knows "
        "(default: $XDG_STATE_HOME/registry-storage-exporter/inventory.sqlite)",
    )


class HistorySettings(SettingsGroup):
    """Figures over time."""

    max_size: HistorySize = Field(
        50_000_000, description="keep figures over time in at most so much; 0 keeps none"
    )


class RegistrySettings(SettingsGroup):
    """The registry's HTTP API."""

    url: Url | None = Field(
        None, description="the registry's address; without it there are no API metrics"
    )
    username: str | None = Field(None, description="user name for the registry")
    password: SecretStr | None = Field(None, description=argparse.SUPPRESS)
    password_file: FilePath | None = Field(None, description="file that holds the password")
    ca_file: FilePath | None = Field(None, description="certificate authorities to trust (PEM)")
    insecure_skip_verify: bool = Field(
        default=False, description="do not verify the registry's certificate"
    )
    timeout: Duration = Field(10.0, description="for each request")
    gc_dialect: Dialect = Field(
        2, description="major version of the registry whose garbage collector is simulated: 2 or 3"
    )

    @model_validator(mode="after")
    def _agree(self) -> Self:
        has_password = self.password is not None or self.password_file is not None
        if self.password is not None and self.password_file is not None:
            raise ValueError("password and password-file are both given; give one")
        if has_password != (self.username is not None):
            raise ValueError("username and password-file go together; one is missing")
        if self.username is not None and self.url is None:
            raise ValueError("username is given without url; give the registry's address")
        return self


class CaproverSettings(SettingsGroup):
    """CapRover, whose configuration says which images are needed."""

    config_dir: FilePaths = Field(
        (),
        description="directory with config-captain.json, e.g. /captain/data; repeatable, for "
        "several servers that push to this registry: the one whose registry it is first",
    )
    image_prefix: ImagePrefix = Field(
        "captain", description="first part of the repositories that CapRover pushes to"
    )


class RetentionSettings(SettingsGroup):
    """What may go: policies to price, and the policy of ``plan --policy``.

    Nothing is deleted by these settings.
    """

    keep_last: Counts = Field(
        (), description="price keeping the last N tags of each repository; repeatable"
    )
    untagged: DurationOrZero | None = Field(
        None, description="`plan --policy` selects untagged manifests that are older, e.g. 7d"
    )
    orphaned: DurationOrZero | None = Field(
        None,
        description="`plan --policy` selects older tags of orphaned repositories, e.g. 30d",
    )
    protect: NamePatterns = Field(
        (),
        description="no plan ever names tags whose whole repository:tag matches one of these "
        "regular expressions, nor what they need; repeatable",
    )


class BackupSettings(SettingsGroup):
    """Backups, of which only the age is reported."""

    dir: FilePath | None = Field(
        None,
        description="a backup's directory, or a file that another backup tool writes when it is "
        "done; to report how old the newest complete backup is",
    )


class MaintenanceSettings(SettingsGroup):
    """The maintenance routine, of which only the last success is reported."""

    result_file: FilePath | None = Field(
        None,
        description="file that maintenance.sh, or collect-garbage.sh --result, writes when it "
        "has succeeded; to report when that was, and what it freed",
    )


class MetricsSettings(SettingsGroup):
    """What is exposed."""

    max_repositories: int = Field(
        1000, ge=0, description="the largest N repositories get their own series"
    )
    include_repositories: NamePatterns = Field(
        (),
        description="only repositories whose whole name matches one of these regular expressions "
        "get their own series; repeatable",
    )
    exclude_repositories: NamePatterns = Field(
        (),
        description="repositories whose whole name matches this regular expression get no series "
        "of their own; repeatable",
    )


class WebConfigSettings(SettingsGroup):
    """Access to the pages, and TLS."""

    file: FilePath | None = Field(
        None,
        description="TLS, users and response headers, in the format of Prometheus' exporters; "
        "read again when it changes",
    )


class WebSettings(SettingsGroup):
    """The HTTP server, and limits for its clients."""

    listen_address: Address = Field(
        ListenAddress("", 10996), description="where to serve, e.g. 127.0.0.1:10996"
    )
    config: WebConfigSettings = WebConfigSettings()
    explorer: bool = Field(default=True, description="serve the pages for people and /api/v1")
    external_url: Url | None = Field(
        None,
        description="the address under which the exporter can be reached from outside, e.g. "
        "https://example.com/registry-storage; its path is the default of web.route-prefix",
    )
    route_prefix: RoutePrefix | None = Field(
        None, description="path before that of each page, e.g. /registry-storage"
    )
    max_connections: Connections = Field(
        256, description="connections at a time; a new one closes the oldest idle one"
    )
    request_timeout: Duration = Field(10.0, description="for a client to send a request")
    response_timeout: Duration = Field(60.0, description="for a client to read an answer")
    max_header_bytes: HeaderSize = Field(
        16 * 1024, description="size of a request's head, e.g. 16KiB"
    )


class LogSettings(SettingsGroup):
    """The log, on standard error."""

    level: Literal["debug", "info", "warning", "error"] = Field(
        "info", description="debug, info, warning or error"
    )
    format: Literal["logfmt", "json"] = Field("logfmt", description="logfmt or json")


class Settings(BaseSettings):
    """All settings."""

    model_config = SettingsConfigDict(
        frozen=True, extra="forbid", hide_input_in_errors=True, case_sensitive=True
    )

    storage: StorageSettings = StorageSettings()
    scan: ScanSettings = ScanSettings()
    cache: CacheSettings = CacheSettings()
    history: HistorySettings = HistorySettings()
    registry: RegistrySettings = RegistrySettings()
    caprover: CaproverSettings = CaproverSettings()
    retention: RetentionSettings = RetentionSettings()
    backup: BackupSettings = BackupSettings()
    maintenance: MaintenanceSettings = MaintenanceSettings()
    metrics: MetricsSettings = MetricsSettings()
    web: WebSettings = WebSettings()
    log: LogSettings = LogSettings()
    alerts: AlertSettings = AlertSettings()

    @classmethod
    def settings_customise_sources(
        cls,
        settings_cls: type[BaseSettings],
        init_settings: PydanticBaseSettingsSource,
        env_settings: PydanticBaseSettingsSource,
        dotenv_settings: PydanticBaseSettingsSource,
        file_secret_settings: PydanticBaseSettingsSource,
    ) -> tuple[PydanticBaseSettingsSource, ...]:
        """Use only values from the caller, which merges the sources and knows their names."""
        del settings_cls, env_settings, dotenv_settings, file_secret_settings
        return (init_settings,)
