"""Canary tokens: placed, set off, taken back."""

from __future__ import annotations

from typing import ClassVar, Literal

from decnet.events.fields import Count, Epoch
from decnet.events.record import FromAttacker, Record

PeerKind = Literal["client", "resolver"]
"""Whose address it is: the client's own, or that of the resolver that it asked."""


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
    """``canary.<token>.triggered``: who set a token off, and what the browser told.

    A name is asked for by a resolver, for somebody else: with ``peer_kind`` "resolver" the address is nobody's who
    attacks. ``echo`` marks its late repeat of what others asked for before.
    """

    ANCHORED_BY_IDENTITY: ClassVar = True

    token_id: str | None = None
    trigger_id: str | None = None
    decky_id: str | None = None
    session_id: str | None = None
    peer_kind: PeerKind = "client"
    echo: bool = False
    first_trip: bool = False
    """Whether nobody had set the token off before."""
    service: str | None = None
    """Whose webhook tells of it, where no listener of ours saw it; of a token of that service's or of ours."""
    kind: str | None = None
    """What the token is; this and the following are told with its first trip."""
    path: str | None = None
    """Where it lies on its decky."""
    memo: str | None = None
    read_session_id: str | None = None
    """The session that read it there last before, where one did."""
    read_ip: str | None = None
    read_uuid: str | None = None
    read_at: Epoch | None = None
    user_agent: str = ""
    request_path: str = ""
    dns_qname: str | None = None
    label_before_slug: str | None = None
    navigator_webdriver: bool | None = None
    automation_hash: str | None = None
    webrtc_geo_mismatch: bool | None = None
    tz_mismatch_zones: Count | None = None
    lang_country_mismatch: bool | None = None
    platform_mismatch: bool | None = None
    ua_signature: str | None = None

    @property
    def is_of_a_resolver(self) -> bool:
        """Whether the address says nothing about who attacks."""
        return self.peer_kind == "resolver"
