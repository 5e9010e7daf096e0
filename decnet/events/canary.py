"""Canary tokens: placed, set off, taken back."""

from __future__ import annotations

from typing import ClassVar

from decnet.events.fields import Count, Epoch
from decnet.events.record import FromAttacker, Record


class Placed(Record, frozen=True, kw_only=True, omit_defaults=True):
    """``canary.<token>.placed``: a token lies where somebody may find it."""

    token_id: str
    kind: str | None = None
    decky_id: str | None = None
    path: str | None = None
    ts: Epoch | None = None


class Revoked(Record, frozen=True, kw_only=True, omit_defaults=True):
    """``canary.<token>.revoked``: a token counts no longer."""

    token_id: str
    reason: str | None = None
    ts: Epoch | None = None


class Triggered(FromAttacker, frozen=True, kw_only=True, omit_defaults=True):
    """``canary.<token>.triggered``: who set a token off, and what the browser told."""

    ANCHORED_BY_IDENTITY: ClassVar = True

    token_id: str | None = None
    trigger_id: str | None = None
    decky_id: str | None = None
    session_id: str | None = None
    user_agent: str = ""
    request_path: str = ""
    dns_qname: str | None = None
    navigator_webdriver: bool | None = None
    automation_hash: str | None = None
    webrtc_geo_mismatch: bool | None = None
    tz_mismatch_zones: Count | None = None
    lang_country_mismatch: bool | None = None
    platform_mismatch: bool | None = None
    ua_signature: str | None = None
