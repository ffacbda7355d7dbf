"""What can be set: the environment's part, and each integration's own, which is a row of the tenant's."""

from __future__ import annotations

import math
from datetime import UTC, datetime, time, timedelta
from functools import cache
from pathlib import Path
from typing import Annotated, Literal
from urllib.parse import urlsplit
from zoneinfo import ZoneInfo

from pydantic import AfterValidator, BaseModel, ConfigDict, Field
from pydantic_settings import BaseSettings, SettingsConfigDict

_MINUTE_MS = 60_000
_HOUR_MS = 60 * _MINUTE_MS


class WechatSettings(BaseSettings):
    """From the environment: WECHAT_DATABASE."""

    model_config = SettingsConfigDict(env_prefix="WECHAT_")

    database: Path = Path("wechat.sqlite3")


@cache
def get_settings() -> WechatSettings:
    """The process' settings, read at the first use."""
    return WechatSettings()


class _Options(BaseModel):
    # An unknown field is an error: a setting that is ignored is one that somebody relies on. Errors show no
    # values, since one may be a token.
    model_config = ConfigDict(frozen=True, extra="forbid", hide_input_in_errors=True)


class Window(_Options):
    """At most `limit` sends from the first one on, for `window_ms`."""

    name: str
    of: Literal["account", "contact"]
    window_ms: int = Field(gt=0)
    limit: int = Field(gt=0)


_WINDOWS = (
    Window(name="minute", of="account", window_ms=_MINUTE_MS, limit=60),
    Window(name="hour", of="account", window_ms=_HOUR_MS, limit=1000),
    Window(name="day", of="account", window_ms=24 * _HOUR_MS, limit=5000),
    Window(name="hour", of="contact", window_ms=_HOUR_MS, limit=120),
)


class QuietHours(_Options):
    """No sends from `start` to `end`, by the clock of a time zone; over midnight if `end` comes first."""

    start: time
    end: time
    zone: str = "UTC"

    def left_ms(self, now: datetime) -> int:
        """Milliseconds until sends may go on; 0 outside of the hours."""
        zone = ZoneInfo(self.zone)
        today = now.astimezone(zone).date()
        for day in (today - timedelta(days=1), today):
            start = datetime.combine(day, self.start, zone)
            end = datetime.combine(day if self.end > self.start else day + timedelta(days=1), self.end, zone)
            if start <= now < end:
                return math.ceil((end.astimezone(UTC) - now) / timedelta(milliseconds=1))
        return 0


def _check_url(url: str) -> str:
    parts = urlsplit(url)
    if parts.scheme not in ("http", "https"):
        raise ValueError("must start with http:// or https://")
    # `port` raises ValueError for what is none.
    if not parts.hostname or parts.port == 0:
        raise ValueError("must name a host")
    if "@" in parts.netloc or parts.query or parts.fragment:
        raise ValueError("must be no more than host, port and path: the token has a field of its own")
    return url


class Integration(_Options):
    """A tenant's connection to the chat service."""

    id: str
    #: Where the service's paths begin. With https:// certificates are checked; http:// sends the token in clear.
    url: Annotated[str, AfterValidator(_check_url)]
    token: str = Field(repr=False)
    timeout_ms: int = Field(default=10_000, gt=0)

    #: Tries of one send that the service did not take, and the pause between two.
    attempts: int = Field(default=4, ge=1, le=20)
    backoff_ms: int = Field(default=60_000, ge=0)

    #: Between two sends of the integration, of an account, and to a contact.
    interval_ms: int = Field(default=0, ge=0)
    account_interval_ms: int = Field(default=500, ge=0)
    contact_interval_ms: int = Field(default=1000, ge=0)
    windows: tuple[Window, ...] = _WINDOWS
    quiet_hours: QuietHours | None = None

    #: Messages that may wait: of an account, and of these for one contact. One more of either is refused; and with
    #: `pause_when_full` it pauses the whole account, whichever of the two was full, until `Outbound.resume`.
    account_backlog: int = Field(default=100, gt=0)
    contact_backlog: int = Field(default=20, gt=0)
    pause_when_full: bool = True

    #: Failures in a row, none later than `failure_window_ms` after the last, that pause the account.
    failures_until_pause: int = Field(default=5, gt=0)
    failure_window_ms: int = Field(default=15 * _MINUTE_MS, gt=0)

    #: How long the locks of a killed worker keep others away; and when to look again at one that is held.
    lock_ttl_ms: int = Field(default=5_000, ge=100)
    lock_retry_ms: int = Field(default=1000, gt=0)

    #: Inbound messages of a contact that come within this time of each other are dispatched together.
    debounce_ms: int = Field(default=3000, ge=0)
    dispatch_attempts: int = Field(default=3, ge=1)
    dispatch_backoff_ms: int = Field(default=1000, ge=0)
